"""Lexemes to items: the pieces between joints, and how far each denial reaches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from dicom_node.errors import QuestionError
from dicom_node.search.dates import Days
from dicom_node.search.lexemes import Blank, Comma, Lexeme, Stop, Word
from dicom_node.search.question import Reason
from dicom_node.search.terms import Term
from dicom_node.search.vocabulary import BodyPart, Cue, ImageSide, Modality, Sex, Side, Years

CONTENT = (Word, Term)
ATTRIBUTES = (Sex, Years, Days, Modality, BodyPart, ImageSide)


class Joint(Enum):
    """What stands before an item."""

    START = auto()
    """Nothing, or the end of a sentence."""
    CUE = auto()
    """Nothing but the item's own cue."""
    COMMA = auto()
    AND = auto()
    """`and`, `nor`"""
    COMMA_AND = auto()
    OR = auto()
    BREAK = auto()
    """`but`"""


class Polarity(Enum):
    """What an item says of its content."""

    AFFIRMED = auto()
    DENIED = auto()
    UNDECIDED = auto()


@dataclass(frozen=True, slots=True)
class Item:
    """What stands between two joints."""

    joint: Joint
    lexemes: tuple[Lexeme, ...]
    """Content, sides, attributes and fillers, in their order."""
    cue: Polarity | None = None
    """Said at this item; None where it says none of its own."""
    behind: bool = False
    """Whether the cue stood behind it ("... absent")."""
    polarity: Polarity = Polarity.AFFIRMED
    alternative: bool = False
    """Whether this, or what stands before it, need hold."""

    @property
    def has_content(self) -> bool:
        """Whether it says anything that can be affirmed or denied."""
        return any(isinstance(lexeme.meaning, CONTENT) for lexeme in self.lexemes)

    @property
    def attributes(self) -> tuple[Lexeme, ...]:
        """What in it filters; a side, too, where nothing else is said that could lie on it."""
        kinds = ATTRIBUTES if self.has_content else (*ATTRIBUTES, Side)
        return tuple(lexeme for lexeme in self.lexemes if isinstance(lexeme.meaning, kinds))

    @property
    def closed(self) -> bool:
        """Whether an attribute behind the content ends what a denial reaches: "no A in women, B"."""
        told = [lexeme for lexeme in self.lexemes if isinstance(lexeme.meaning, (*CONTENT, *ATTRIBUTES))]
        return self.has_content and isinstance(told[-1].meaning, ATTRIBUTES)

    @property
    def span(self) -> tuple[int, int]:
        """(start, end) in the text."""
        return self.lexemes[0].span[0], self.lexemes[-1].span[1]


def items_of(lexemes: Sequence[Lexeme]) -> tuple[Item, ...]:
    """The items with their polarity. Raises QuestionError for a denial of nothing, or of a denial."""
    splitter = _Splitter()
    for lexeme in lexemes:
        splitter.take(lexeme)
    splitter.close(Joint.START)
    return tuple(_with_alternatives(_with_polarity(_denied_behind(splitter.items))))


_CUES = {Cue.ABSENT: Polarity.DENIED, Cue.PRESENT: Polarity.AFFIRMED, Cue.UNDECIDED: Polarity.UNDECIDED}


@dataclass(slots=True)
class _Splitter:
    """Cuts at joints and cues, lexeme by lexeme."""

    items: list[Item] = field(default_factory=list)
    joint: Joint = Joint.START
    cue: Polarity | None = None
    cue_span: tuple[int, int] = (0, 0)
    held: list[Lexeme] = field(default_factory=list)

    def take(self, lexeme: Lexeme) -> None:
        match lexeme.meaning:
            case Cue.ABSENT | Cue.PRESENT | Cue.UNDECIDED as cue:
                self._begin(_CUES[cue], lexeme)
            case Cue.NOR:
                self.close(Joint.AND)
                self._begin(Polarity.DENIED, lexeme)
            case Cue.ABSENT_BEHIND:
                self._behind(lexeme)
            case Cue.OR:
                self.close(Joint.OR)
            case Cue.AND:
                self.close(Joint.AND)
            case Cue.BREAK:
                self.close(Joint.BREAK)
            case Comma():
                self.close(Joint.COMMA)
            case Stop():
                self.close(Joint.START)
            case Cue.LEAD | Blank():
                pass
            case _:
                self.held.append(lexeme)

    def close(self, following: Joint, *, behind: bool = False) -> None:
        """End the item in hand; `following` stands before the next."""
        if self.held:
            self.items.append(Item(self.joint, tuple(self.held), self.cue, behind))
            self.held, self.cue, self.joint = [], None, following
        elif self.cue is not None:
            if self.cue is Polarity.DENIED and following in (Joint.START, Joint.BREAK):
                raise QuestionError(
                    Reason.DANGLING,
                    "A denial stands there with nothing behind it. Say what shall not be there.",
                    self.cue_span,
                )
        else:
            self.joint = _combined(self.joint, following)

    def _begin(self, cue: Polarity, lexeme: Lexeme) -> None:
        if self.held:
            self.close(Joint.CUE)
        if self.cue is Polarity.DENIED:
            if cue is Polarity.DENIED:
                raise _double(self.cue_span[0], lexeme.span[1])
            return  # "no signs of", "without having"
        self.cue, self.cue_span = cue, lexeme.span

    def _behind(self, lexeme: Lexeme) -> None:
        """A denial of what stands before it; a mere word where nothing does."""
        if not any(isinstance(held.meaning, CONTENT) for held in self.held):
            self.held.append(Lexeme(lexeme.tokens, Word()))
            return
        if self.cue is Polarity.DENIED:
            raise _double(self.cue_span[0], lexeme.span[1])
        self.cue = Polarity.DENIED
        self.close(Joint.CUE, behind=True)


def _double(start: int, end: int) -> QuestionError:
    words = "What is denied there is denied again. Say what shall be there, or deny it once."
    return QuestionError(Reason.DOUBLE, words, (start, end))


def _combined(before: Joint, following: Joint) -> Joint:
    """Two joints with nothing between them: `, and`, `, or`."""
    if before is Joint.COMMA and following is Joint.AND:
        return Joint.COMMA_AND
    if following in (Joint.OR, Joint.BREAK, Joint.START):
        return following
    return before if before in (Joint.START, Joint.BREAK, Joint.OR) else following


def _denied_behind(items: Sequence[Item]) -> list[Item]:
    """With a denial that stands behind ("A and B absent") told at all that it denies."""
    told = list(items)
    for index in range(len(told) - 1, 0, -1):
        item, before = told[index], told[index - 1]
        if item.behind and item.joint in (Joint.AND, Joint.OR) and before.cue is None and before.has_content:
            told[index - 1] = replace(before, cue=Polarity.DENIED, behind=True)
    return told


def _with_polarity(items: Sequence[Item]) -> list[Item]:
    told: list[Item] = []
    polarity, reach = Polarity.AFFIRMED, -1
    for index, item in enumerate(items):
        if item.cue is not None:
            polarity = item.cue
            listed = polarity is not Polarity.AFFIRMED and not item.behind
            reach = _reach(items, index) if listed else index
        elif index > reach:
            polarity = Polarity.AFFIRMED
        told.append(replace(item, polarity=polarity))
    return told


def _reach(items: Sequence[Item], at: int) -> int:
    """Index of the last item that the cue at `at` holds for: along commas only as far as a joint word closes
    the list, and no further than that word's own run."""
    last, commas, is_closed = at, 0, False
    for index in range(at + 1, len(items)):
        item = items[index]
        joint = item.joint
        ends = items[index - 1].closed and joint is not Joint.OR
        if item.cue is not None or item.has_content != items[at].has_content or ends:
            break
        if joint is Joint.COMMA and not is_closed:
            commas += 1
        elif joint in (Joint.AND, Joint.OR) or (joint is Joint.COMMA_AND and commas and not is_closed):
            last, is_closed = index, True
        else:
            break
    return last


def _with_alternatives(items: Sequence[Item]) -> list[Item]:
    """With it told which items `or` joins: all of "A, B or C" but the first. What is denied in one breath
    ("no A or B") is denied each, so that `or` joins nothing there."""
    told = list(items)
    for index, item in enumerate(items):
        inherits = item.polarity is not Polarity.AFFIRMED and (item.cue is None or item.behind)
        if item.joint is not Joint.OR or inherits:
            continue
        told[index] = replace(item, alternative=True)
        at = index - 1
        while at > 0 and _in_list(items[at]) and items[at - 1].has_content and not items[at - 1].closed:
            told[at] = replace(items[at], alternative=True)
            at -= 1
    return told


def _in_list(item: Item) -> bool:
    plain = item.joint is Joint.COMMA and item.cue is None
    return plain and item.polarity is Polarity.AFFIRMED and item.has_content
