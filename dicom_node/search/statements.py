"""An item's content to statements: one for each finding that it names, with the words round it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dicom_node.search.items import ATTRIBUTES, Item, Polarity
from dicom_node.search.lexemes import Lexeme, Word
from dicom_node.search.question import Statement
from dicom_node.search.terms import Term
from dicom_node.search.vocabulary import BodyPart, Filler, People, Side

DROPPED = tuple(kind for kind in ATTRIBUTES if kind is not BodyPart)
"""Attributes filter and are not said again. A part of the body filters, and is kept where it is said of
something: `abdominal pain`."""


def statements_of(item: Item, text: str) -> tuple[Statement, ...]:
    """What `item` of the question `text` says; nothing where it merely filters."""
    if not item.has_content:
        return ()
    return tuple(
        _statement(part, text, affirmed=item.polarity is not Polarity.DENIED) for part in _parts(item.lexemes)
    )


def _parts(lexemes: Sequence[Lexeme]) -> list[list[Lexeme]]:
    """Cut so that each part holds one finding at most, with what stands before it; what stands behind it, and
    begins with a preposition, belongs to it too: `nodule in the left upper lobe`."""
    parts: list[list[Lexeme]] = [[]]
    has_term = stays = False
    for index, lexeme in enumerate(lexemes):
        more = has_term and any(isinstance(other.meaning, Term) for other in lexemes[index:])
        stays = stays or isinstance(lexeme.meaning, Filler)
        if more and (isinstance(lexeme.meaning, Term) or not stays):
            parts.append([])
            has_term = False
        parts[-1].append(lexeme)
        if isinstance(lexeme.meaning, Term):
            has_term, stays = True, False
    kept = [_trimmed(part) for part in parts]
    return [part for part in kept if any(isinstance(lexeme.meaning, (Word, Term)) for lexeme in part)]


def _trimmed(part: Sequence[Lexeme]) -> list[Lexeme]:
    """Without attributes, and without fillers at the edges and beside an attribute."""

    def is_loose(at: int) -> bool:
        return not 0 <= at < len(part) or isinstance(part[at].meaning, (*DROPPED, People))

    kept = list(part)
    keep = [not isinstance(lexeme.meaning, (*DROPPED, People)) for lexeme in part]
    for order, step in ((range(len(part)), -1), (range(len(part) - 1, -1, -1), 1)):
        for at in order:
            beside = at + step
            if isinstance(part[at].meaning, Filler) and (is_loose(beside) or not keep[beside]):
                keep[at] = False
    last = max(
        (at for at in range(len(part)) if isinstance(part[at].meaning, (Word, Term, Side))), default=-1
    )
    return [lexeme for at, lexeme in enumerate(kept) if keep[at] and (at <= last)]


def _statement(part: Sequence[Lexeme], text: str, *, affirmed: bool) -> Statement:
    term = next((lexeme.meaning for lexeme in part if isinstance(lexeme.meaning, Term)), None)
    sides = {lexeme.meaning.code for lexeme in part if isinstance(lexeme.meaning, Side)}
    denies = term is not None and term.denies
    kinds = () if term is None else term.kinds
    words = any(isinstance(lexeme.meaning, Word) for lexeme in part)
    return Statement(
        text=_said(part, text),
        prompt=_spelled(part, text),
        affirmed=affirmed,
        findings=() if term is None else term.findings,
        denies=denies,
        bare=all(isinstance(lexeme.meaning, Term) for lexeme in part),
        side=None if not sides else "B" if len(sides) > 1 else sides.pop(),
        narrower=term is not None and (term.narrower or words),
        kinds=tuple(_kind(part, text, kind, affirmed=affirmed) for kind in kinds),
    )


def _kind(part: Sequence[Lexeme], text: str, kind: Term, *, affirmed: bool) -> Statement:
    """What `part` says with `kind` in the place of its general name."""
    named = [replace(one, meaning=kind) if isinstance(one.meaning, Term) else one for one in part]
    statement = _statement(named, text, affirmed=affirmed)
    return replace(statement, text=statement.prompt, is_kind=True)


def _said(part: Sequence[Lexeme], text: str) -> str:
    """The words as they were written, without what was left out between them."""
    runs: list[tuple[int, int]] = []
    for lexeme in part:
        start, end = lexeme.span
        if runs and not text[runs[-1][1] : start].strip(" -"):
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return " ".join(text[start:end] for start, end in runs)


def _spelled(part: Sequence[Lexeme], text: str) -> str:
    """Likewise for the text encoder: in lower case, a synonym by the name that the bundle knows."""
    words: list[str] = []
    run: list[Lexeme] = []
    for lexeme in part:
        if isinstance(lexeme.meaning, Term) and lexeme.meaning.spelled is not None:
            words += [_said(run, text), lexeme.meaning.spelled]
            run = []
        else:
            run.append(lexeme)
    return " ".join(word for word in (*words, _said(run, text)) if word).casefold()
