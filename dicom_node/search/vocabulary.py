"""The words that questions are made of, read from `vocabulary.toml` into tables of phrases.

A phrase is a tuple of keys (`words.py`). What the bundle's catalogue adds to them stands in `terms.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from dicom_node.errors import ConfigError
from dicom_node.search.words import Spelling, Token, tokens_of

T = TypeVar("T")
Phrase = tuple[str, ...]


class Cue(StrEnum):
    """What a word does to the statements round it; `vocabulary.toml` tells each in a line."""

    ABSENT = "absent"
    ABSENT_BEHIND = "absent_behind"
    PRESENT = "present"
    UNDECIDED = "undecided"
    LEAD = "lead"
    BREAK = "break"
    OR = "or"
    AND = "and"
    NOR = "nor"


@dataclass(frozen=True, slots=True)
class Filler:
    """Means nothing at the edge of a statement."""


@dataclass(frozen=True, slots=True)
class People:
    """Patients, whoever: a number behind the word is an age."""


@dataclass(frozen=True, slots=True)
class Years:
    """Age in years, from `least` up to but not including `below`; None: open."""

    least: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Sex:
    """`M`, `F` as in (0010,0040); a girl has an age, too."""

    codes: tuple[str, ...]
    years: Years | None = None


@dataclass(frozen=True, slots=True)
class Modality:
    """A kind of study."""

    id: str | None
    """As a bundle calls it; None where no bundle of format v1 knows it."""
    codes: tuple[str, ...]
    """DICOM's (0008,0060)."""


@dataclass(frozen=True, slots=True)
class BodyPart:
    """Values of (0018,0015), any of which will do."""

    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """`L`, `R` or `B`: where in an image a finding lies."""

    code: str


@dataclass(frozen=True, slots=True)
class ImageSide:
    """`L`, `R` or `B`: of which of a pair the image is."""

    code: str


Meaning = Cue | Filler | People | Years | Sex | Modality | BodyPart | Side | ImageSide


class Phrases(Generic[T]):
    """Phrases and what each means; finds the longest that stands at a place."""

    def __init__(self, meanings: Mapping[Phrase, T]) -> None:
        self._meanings = MappingProxyType(dict(meanings))
        self._longest = max(map(len, meanings), default=0)

    def __contains__(self, phrase: Phrase) -> bool:
        return phrase in self._meanings

    def __getitem__(self, phrase: Phrase) -> T:
        return self._meanings[phrase]

    def __iter__(self) -> Iterator[Phrase]:
        return iter(self._meanings)

    def match(self, tokens: Sequence[Token], at: int) -> tuple[int, T] | None:
        """(number of tokens, meaning) of the longest phrase that begins at `at`."""
        for length in range(min(self._longest, len(tokens) - at), 0, -1):
            phrase = tuple(token.key for token in tokens[at : at + length])
            if phrase in self._meanings:
                return length, self._meanings[phrase]
        return None


@dataclass(frozen=True, slots=True)
class DateWords:
    """By role (`since`, `between`, ...), and what counts as a unit, a month, a day of the week."""

    roles: Mapping[str, Phrases[str]]
    units: Phrases[str]
    """`day`, `week`, `month`, `year`"""
    months: Phrases[int]
    """1 to 12"""
    weekdays: Phrases[int]
    """0 is Monday, as in `date.weekday()`."""


@dataclass(frozen=True, slots=True)
class NumberWords:
    """By role (`above`, `aged`, `old`, ...), and units of age in years."""

    roles: Mapping[str, Phrases[str]]
    units: Phrases[float]
    in_words: Phrases[int]


@dataclass(frozen=True, slots=True)
class Frames:
    """Sentences round a statement, `{}` in its place."""

    affirmed: tuple[str, ...]
    negated: tuple[str, ...]
    opposites: Mapping[str, str]
    """What is told from its opposite and not from its denial: `normal` from `abnormal findings`."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All tables. Make one when the node starts (`load_vocabulary`) and pass it down."""

    spelling: Spelling
    meanings: Phrases[Meaning]
    modalities: tuple[Modality, ...]
    capitals: frozenset[str]
    """Keys that count only where they alone are in capitals."""
    dates: DateWords
    numbers: NumberWords
    synonyms: Mapping[str, tuple[str, ...]]
    """What may be asked, to the terms that a catalogue may know it by, the best first."""
    frames: Frames
    kinds: Mapping[str, tuple[str, ...]]
    """What is more than one finding, to the terms of which any will do."""
    narrower: frozenset[Phrase]
    """Synonyms that say more than the finding they stand for."""

    def tokens(self, text: str) -> tuple[Token, ...]:
        """`words.tokens_of` with this spelling."""
        return tokens_of(text, self.spelling)

    def phrase(self, text: str) -> Phrase:
        """The keys of `text`."""
        return tuple(token.key for token in self.tokens(text))


def load_vocabulary(text: str | None = None) -> Vocabulary:
    """The vocabulary of this package, or that of `text` (TOML). Raises ConfigError where a phrase has two
    meanings or is empty."""
    if text is None:
        text = (resources.files("dicom_node.search") / "vocabulary.toml").read_text(encoding="utf-8")
    raw = tomllib.loads(text)
    spelling = _spelling(raw["spelling"])
    table = _Table(spelling)
    for cue in Cue:
        table.add(raw["cues"][cue.value], cue)
    table.add(raw["people"]["words"], People())
    for entry in raw["sex"]:
        years = Years(entry.get("least"), entry.get("below"))
        table.add(entry["words"], Sex(tuple(entry["codes"]), None if years == Years() else years))
    for entry in raw["age"]:
        table.add(entry["words"], Years(entry.get("least"), entry.get("below")))
    for entry in raw["modality"]:
        table.add(entry["words"], Modality(entry.get("id"), tuple(entry["codes"])))
    for entry in raw["body_part"]:
        table.add(entry["words"], BodyPart(tuple(entry["codes"])))
    for code, words in raw["side"].items():
        table.add(words, Side(code))
    for code, words in raw["image_side"].items():
        table.add(words, ImageSide(code))
    table.add_where_free(raw["filler"]["words"], Filler())
    return Vocabulary(
        spelling=spelling,
        meanings=Phrases(table.meanings),
        modalities=tuple(Modality(entry.get("id"), tuple(entry["codes"])) for entry in raw["modality"]),
        capitals=frozenset(spelling.key(word) for word in raw["capitals"]["words"]),
        dates=_dates(raw["dates"], spelling),
        numbers=_numbers(raw["numbers"], spelling),
        synonyms=MappingProxyType({asked: tuple(terms) for asked, terms in raw["synonyms"].items()}),
        frames=Frames(
            tuple(raw["frames"]["affirmed"]),
            tuple(raw["frames"]["negated"]),
            MappingProxyType(dict(raw["frames"]["opposites"])),
        ),
        kinds=MappingProxyType(
            {asked: tuple(entry["names"]) for entry in raw["kinds"] for asked in entry["words"]}
        ),
        narrower=frozenset(_phrase(word, spelling) for word in raw["narrower"]["words"]),
    )


class _Table:
    """Phrases under way, none of which may mean two things."""

    def __init__(self, spelling: Spelling) -> None:
        self._spelling = spelling
        self.meanings: dict[Phrase, Meaning] = {}

    def add(self, words: Iterable[str], meaning: Meaning) -> None:
        for word in words:
            phrase = _phrase(word, self._spelling)
            if self.meanings.setdefault(phrase, meaning) != meaning:
                raise ConfigError(f"vocabulary.toml: {word!r} has two meanings; take it out of one list.")

    def add_where_free(self, words: Iterable[str], meaning: Meaning) -> None:
        for word in words:
            self.meanings.setdefault(_phrase(word, self._spelling), meaning)


def _phrase(word: str, spelling: Spelling) -> Phrase:
    phrase = tuple(token.key for token in tokens_of(word, spelling))
    if not phrase:
        raise ConfigError(f"vocabulary.toml: {word!r} holds no word.")
    return phrase


def _spelling(raw: Mapping[str, Any]) -> Spelling:
    return Spelling(
        words=MappingProxyType(dict(raw["words"])),
        parts=MappingProxyType(dict(raw["parts"])),
        prefixes=frozenset(raw["prefixes"]),
    )


def _phrases(meanings: Iterable[tuple[Sequence[str], T]], spelling: Spelling) -> Phrases[T]:
    return Phrases({_phrase(word, spelling): meaning for words, meaning in meanings for word in words})


def _roles(raw: Mapping[str, Any], spelling: Spelling) -> Mapping[str, Phrases[str]]:
    return MappingProxyType(
        {role: _phrases([(words, role)], spelling) for role, words in raw.items() if isinstance(words, list)}
    )


def _dates(raw: Mapping[str, Any], spelling: Spelling) -> DateWords:
    return DateWords(
        roles=_roles(raw, spelling),
        units=_phrases([(words, unit) for unit, words in raw["units"].items()], spelling),
        months=_phrases([(words, int(month)) for month, words in raw["months"].items()], spelling),
        weekdays=_phrases([(words, int(day)) for day, words in raw["weekdays"].items()], spelling),
    )


def _numbers(raw: Mapping[str, Any], spelling: Spelling) -> NumberWords:
    return NumberWords(
        roles=_roles(raw, spelling),
        units=_phrases([(unit["words"], float(unit["years"])) for unit in raw["units"].values()], spelling),
        in_words=_phrases([([word], number) for word, number in raw["in_words"].items()], spelling),
    )
