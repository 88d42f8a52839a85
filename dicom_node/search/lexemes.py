"""Tokens to lexemes: each with the one meaning that it has where it stands.

At every place the longest phrase wins, whether the vocabulary's or the bundle's: `left axis deviation` is a
finding and no side, `abnormal ECG` a finding and no modality.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from dicom_node.search.ages import is_measured, read_years
from dicom_node.search.dates import Days, read_days
from dicom_node.search.terms import Term
from dicom_node.search.vocabulary import Filler, Meaning, People, Phrases, Sex, Vocabulary, Years
from dicom_node.search.words import Token


@dataclass(frozen=True, slots=True)
class Word:
    """A word without a meaning to the grammar."""


@dataclass(frozen=True, slots=True)
class Comma:
    """Goes on with a list, maybe."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ends a sentence: a full stop, a semicolon, a line."""


@dataclass(frozen=True, slots=True)
class Blank:
    """A sign without meaning: a bracket, a question mark, a colon."""


@dataclass(frozen=True, slots=True)
class Lexeme:
    """Tokens that mean something together."""

    tokens: tuple[Token, ...]
    meaning: Meaning | Term | Days | Word | Comma | Stop | Blank

    @property
    def span(self) -> tuple[int, int]:
        """(start, end) in the text."""
        return self.tokens[0].start, self.tokens[-1].end


SIGNS: dict[str, Comma | Stop] = {",": Comma(), ";": Stop(), "\n": Stop(), ".": Stop()}


def lexemes_of(
    tokens: Sequence[Token], vocabulary: Vocabulary, terms: Phrases[Term], today: date
) -> tuple[Lexeme, ...]:
    """The lexemes of a question. Raises QuestionError for a date or an age that cannot be understood."""
    shouted = all(token.text.isupper() for token in tokens if token.text[0].isalpha())
    found: list[Lexeme] = []
    at = 0
    while at < len(tokens):
        people = bool(found) and isinstance(found[-1].meaning, People | Sex | Years)
        length, meaning = _read(tokens, at, vocabulary, terms, today, people=people, shouted=shouted)
        found.append(Lexeme(tuple(tokens[at : at + length]), meaning))
        at += length
    return tuple(found)


def _read(
    tokens: Sequence[Token],
    at: int,
    vocabulary: Vocabulary,
    terms: Phrases[Term],
    today: date,
    *,
    people: bool,
    shouted: bool,
) -> tuple[int, Meaning | Term | Days | Word | Comma | Stop | Blank]:
    """(number of tokens, meaning) at `at`."""
    if length := is_measured(tokens, at, vocabulary.numbers):
        return length, Word()
    term = terms.match(tokens, at)
    known = vocabulary.meanings.match(tokens, at)
    if known is not None and known[0] == 1 and not _counts(tokens[at], vocabulary, shouted):
        known = 1, Filler()
    if term is None or (known is not None and known[0] > term[0]):
        if (years := read_years(tokens, at, vocabulary.numbers, people=people)) is not None:
            return years[1] - at, years[0]
        if (days := read_days(tokens, at, vocabulary.dates, today)) is not None:
            return days[1] - at, days[0]
        if known is not None:
            return known
    if term is not None:
        return term
    return 1, _sign(tokens, at)


def _counts(token: Token, vocabulary: Vocabulary, shouted: bool) -> bool:
    """Whether the word means what the vocabulary says: `US` is ultrasound, `us` is not."""
    return token.key not in vocabulary.capitals or (token.text.removesuffix("s").isupper() and not shouted)


def _sign(tokens: Sequence[Token], at: int) -> Word | Comma | Stop | Blank:
    token = tokens[at]
    if token.key[0].isalnum():
        return Word()
    if token.key == "." and at + 1 < len(tokens) and tokens[at + 1].glued:
        return Blank()  # 0.5, e.g.
    return SIGNS.get(token.key, Blank())
