"""Ages in words: `over 60`, `aged 40-50`, `65 years or older`, `between 40 and 50`, `under 6 months`, `60+`.

    years := COMPARED NUMBER [UNIT] | between NUMBER and NUMBER [UNIT]
           | aged NUMBER [(-|to|and) NUMBER] [UNIT] | NUMBER (-|to) NUMBER UNIT
           | NUMBER [UNIT] or older|or younger | NUMBER UNIT old

Ages are counted in whole years, as people do: over 60 begins with the 61st birthday, aged 40-50 ends before
the 51st. A number without a unit is an age only beside a word for people, or where nothing follows that it
could count: `more than 3 nodules` is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.errors import QuestionError
from dicom_node.search.vocabulary import NumberWords, Years
from dicom_node.search.words import Token

OLDEST = 130
"""Years; nobody was older."""

Found = tuple[Years, int]
"""The ages, and the index of the token behind them."""


@dataclass(frozen=True, slots=True)
class _Number:
    value: int
    unit: float | None
    """In years; None where no unit stood there."""
    end: int

    @property
    def least(self) -> float:
        return self.value * (self.unit or 1.0)

    @property
    def after(self) -> float:
        """The age at which one is no longer so old."""
        return (self.value + 1) * (self.unit or 1.0)


def read_years(tokens: Sequence[Token], at: int, words: NumberWords, *, people: bool) -> Found | None:
    """The ages that the words from `at` on tell, and where they end; None where they tell none.

    `people`: whether the words just before tell of people, so that a bare number must be an age. Raises
    QuestionError for a range that ends before it begins.
    """
    return _Reader(tokens, words, people).years(at)


def within(one: Years | None, other: Years) -> Years:
    """The ages that are in both."""
    if one is None:
        return other
    leasts = [age for age in (one.least, other.least) if age is not None]
    belows = [age for age in (one.below, other.below) if age is not None]
    return Years(max(leasts, default=None), min(belows, default=None))


def empty(years: Years) -> bool:
    """Whether nobody can be of that age."""
    return years.least is not None and years.below is not None and years.least >= years.below


def is_measured(tokens: Sequence[Token], at: int, words: NumberWords) -> int:
    """How many tokens from `at` on are a number and the unit of something else; 0 where they are not."""
    if tokens[at].number is None:
        return 0
    end = at + 1
    if end + 1 < len(tokens) and tokens[end].key == "." and tokens[end + 1].number is not None:
        end += 2
    found = words.roles["measures"].match(tokens, end)
    return 0 if found is None else end - at + found[0]


class _Reader:
    def __init__(self, tokens: Sequence[Token], words: NumberWords, people: bool) -> None:
        self._tokens = tokens
        self._words = words
        self._people = people

    def years(self, at: int) -> Found | None:
        aged = self._role("aged", at)
        begin = at + aged
        sure = self._people or aged > 0
        return self._compared(begin, sure) or self._range(begin, sure) or self._one(begin, aged > 0, sure)

    def _compared(self, at: int, sure: bool) -> Found | None:
        for role in ("from", "to", "above", "below"):  # `>=` before `>`: the longer one first
            length = self._role(role, at)
            number = self._number(at + length) if length else None
            if number is None or not self._is_age(number, sure):
                continue
            limits = {
                "above": Years(least=number.after),
                "from": Years(least=number.least),
                "below": Years(below=number.least),
                "to": Years(below=number.after),
            }
            return limits[role], number.end
        return None

    def _range(self, at: int, sure: bool) -> Found | None:
        between = self._key(at) == "between"
        first = self._number(at + between)
        if first is None:
            return None
        joints = ("and",) if between else ("-", "to", "and") if sure else ("-", "to")
        second = self._number(first.end + 1) if self._key(first.end) in joints else None
        if second is None:
            return None
        alone = sure or (between and self._stands_alone(second))
        if not self._is_age(second, sure=alone or second.unit is not None):
            return None
        if second.unit is None and not alone:
            return None
        unit = first.unit or second.unit
        years = Years(first.value * (unit or 1.0), second.after)
        if empty(years):
            raise QuestionError(
                "empty-ages",
                "The range of ages ends before it begins. Write the lower age first.",
                (self._tokens[at].start, self._tokens[second.end - 1].end),
            )
        return years, second.end + self._role("old", second.end)

    def _one(self, at: int, aged: bool, sure: bool) -> Found | None:
        number = self._number(at)
        if number is None or not self._fits(number):
            return None
        for role in ("or_more", "or_less"):
            if (length := self._role(role, number.end)) and (number.unit or self._is_age(number, sure=True)):
                more = role == "or_more"
                if number.unit is None and not sure and not self._stands_alone_at(number.end + length):
                    return None
                end = number.end + length
                return (Years(least=number.least) if more else Years(below=number.after)), end
        if number.unit is not None and (length := self._role("old", number.end)):
            return Years(number.least, number.after), number.end + length
        if aged or (number.unit is not None and (sure or self._said_short(number))):
            return Years(number.least, number.after), number.end
        return None

    def _said_short(self, number: _Number) -> bool:
        """`65yo`, `65 y/o`: old is said within the unit."""
        return self._tokens[number.end - 1].key in ("yo", "o")

    # -- numbers --------------------------------------------------------------------------------------

    def _number(self, at: int) -> _Number | None:
        """A number and the unit of time behind it, `old` included where both stand there."""
        if at >= len(self._tokens):
            return None
        value = self._tokens[at].number
        end = at + 1
        if value is None:
            spelled = self._words.in_words.match(self._tokens, at)
            if spelled is None:
                return None
            value, end = spelled[1], at + spelled[0]
        unit = self._words.units.match(self._tokens, end)
        if unit is None:
            return _Number(value, None, end)
        return _Number(value, unit[1], end + unit[0])

    def _fits(self, number: _Number) -> bool:
        return number.least <= OLDEST

    def _is_age(self, number: _Number, sure: bool) -> bool:
        if not self._fits(number) or self._role("measures", number.end):
            return False
        return number.unit is not None or sure or self._stands_alone(number)

    def _stands_alone(self, number: _Number) -> bool:
        return self._stands_alone_at(number.end)

    def _stands_alone_at(self, at: int) -> bool:
        """Whether nothing follows that a number could count: the end, a sign, or a word that joins."""
        key = self._key(at)
        return key is None or not key[0].isalnum() or key in _JOINTS

    def _key(self, at: int) -> str | None:
        return self._tokens[at].key if at < len(self._tokens) else None

    def _role(self, role: str, at: int) -> int:
        found = self._words.roles[role].match(self._tokens, at)
        return 0 if found is None else found[0]


_JOINTS = frozenset(
    {"with", "without", "and", "or", "who", "in", "but", "since", "last", "this", "from", "no", "not"}
)


def least_and_most(years: Years) -> tuple[float | None, float | None]:
    """Both ends included, as a filter of the store takes them."""
    below = years.below
    return years.least, None if below is None else math.nextafter(below, -math.inf)
