"""Dates in words: `last month`, `since 2024-01`, `in 2023`, `from March to May 2024`, `3 weeks ago`.

    days    := since|after|before|until POINT | between POINT and POINT | [from] POINT to POINT
             | in|on|from|... POINT [onwards] | POINT
    POINT   := today | yesterday | 2024-01-15 | 2024/01/15 | 20240115 | 2024-01 | 2024
             | [15] March [15] [2024] | Monday | NUMBER weeks ago | SPAN
    SPAN    := last month (the calendar's) | past month, last 3 months (counted back) | this month

Numbers like 03/04/2024 mean two days in two countries: they are refused, with the form to write instead.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from dicom_node.errors import QuestionError
from dicom_node.search.vocabulary import DateWords
from dicom_node.search.words import Token

EARLIEST = 1950
"""No archive holds an earlier study; a smaller number is no year."""

MOST_BACK = 100_000
"""Days, weeks, ... that can be counted back."""


@dataclass(frozen=True, slots=True)
class Days:
    """Study dates, both ends included; None: open."""

    first: date | None = None
    last: date | None = None

    def within(self, other: Days) -> Days:
        """The days that are in both."""
        firsts = [day for day in (self.first, other.first) if day is not None]
        lasts = [day for day in (self.last, other.last) if day is not None]
        return Days(max(firsts, default=None), min(lasts, default=None))

    @property
    def empty(self) -> bool:
        """Whether no day is left."""
        return self.first is not None and self.last is not None and self.first > self.last


Found = tuple[Days, int]
"""The days, and the index of the token behind them."""


def read_days(tokens: Sequence[Token], at: int, words: DateWords, today: date) -> Found | None:
    """The days that the words from `at` on tell, and where they end; None where they tell none.

    Raises QuestionError where they were meant to and cannot be understood.
    """
    return _Reader(tokens, words, today).days(at)


class _Reader:
    """The grammar above; every method takes the index to read from."""

    def __init__(self, tokens: Sequence[Token], words: DateWords, today: date) -> None:
        self._tokens = tokens
        self._words = words
        self._today = today

    def days(self, at: int) -> Found | None:
        return self._compared(at) or self._between(at) or self._plain(at)

    # -- the whole ----------------------------------------------------------------------------------

    def _compared(self, at: int) -> Found | None:
        for role in ("since", "after", "before", "until"):
            length = self._role(role, at)
            if not length:
                continue
            found = self._point(at + length, named=True)
            if found is None:
                if self._key(at) == "since":
                    raise self._unknown(at, at + length + 1)
                continue
            days, end = found
            if role == "since":
                return self._until(days, end) or (Days(days.first, None), end)
            limits = {
                "after": Days(_next(days.last), None),
                "before": Days(None, _previous(days.first)),
                "until": Days(None, days.last),
            }
            return limits[role], end
        return None

    def _between(self, at: int) -> Found | None:
        length = self._role("between", at)
        found = self._point(at + length, named=True) if length else None
        return None if found is None else self._until(*found)

    def _plain(self, at: int) -> Found | None:
        length = self._role("on", at)
        found = self._point(at + length, named=length > 0)
        if found is None:
            return None
        days, end = found
        onwards = self._role("onwards", end) if length else 0
        if onwards and not (self._key(end + onwards) or " ")[0].isalnum():  # not "in 2024 on the left"
            return Days(days.first, None), end + onwards
        return self._until(days, end) or found

    def _until(self, days: Days, at: int) -> Found | None:
        """`days` as the beginning of a range that goes on at `at`."""
        length = 1 if self._key(at) == "-" else self._role("to", at)
        found = self._point(at + length, named=True) if length else None
        if found is None:
            return None
        first, last = days.first, found[0].last
        if first is not None and last is not None and self._words.months.match(self._tokens, at - 1):
            first = self._date(last.year, first.month, first.day, at - 1, at)  # "from March to May 2024"
        whole = Days(first, last)
        if whole.empty:
            raise QuestionError(
                "empty-dates",
                "The range of dates ends before it begins. Write the earlier date first.",
                self._span(at, found[1]),
            )
        return whole, found[1]

    # -- one point ----------------------------------------------------------------------------------

    def _point(self, at: int, *, named: bool) -> Found | None:
        """`named`: a word before it says that a date follows, so that `March` or `2023` alone is one."""
        if at >= len(self._tokens):
            return None
        for role, back in (("today", 0), ("yesterday", 1)):
            if length := self._role(role, at):
                day = self._today - timedelta(days=back)
                return Days(day, day), at + length
        return (
            self._span_of_time(at)
            or self._ago(at)
            or self._day_and_month(at, named)
            or self._numeric(at, named)
            or self._weekday(at, named)
        )

    def _span_of_time(self, at: int) -> Found | None:
        if self._key(at) == "the":
            at += 1
        for role in ("calendar", "rolling", "this"):
            length = self._role(role, at)
            if not length:
                continue
            after = at + length
            number = self._number(after)
            unit = self._words.units.match(self._tokens, after if number is None else after + 1)
            if unit is not None:
                end = after + (number is not None) + unit[0]
                if role == "this":
                    return (_calendar(unit[1], self._today, 0), end) if number is None else None
                if number is None and role == "calendar":
                    return _calendar(unit[1], self._today, -1), end
                return Days(self._back(number or 1, unit[1], at, end), self._today), end
            if role != "rolling" and (found := self._named_span(after, role)) is not None:
                return found
        return None

    def _named_span(self, at: int, role: str) -> Found | None:
        """`last March`, `last Monday`: the latest that is over; `this March`: of this year."""
        if (month := self._words.months.match(self._tokens, at)) is not None:
            year = self._today.year
            if role == "calendar" and month[1] >= self._today.month:
                year -= 1
            return _month(year, month[1]), at + month[0]
        if role == "calendar" and (weekday := self._words.weekdays.match(self._tokens, at)) is not None:
            day = self._latest_weekday(weekday[1], before_today=True)
            return Days(day, day), at + weekday[0]
        return None

    def _ago(self, at: int) -> Found | None:
        number = self._number(at)
        if number is None and self._key(at) in ("a", "an", "one"):
            number = 1
        unit = None if number is None else self._words.units.match(self._tokens, at + 1)
        if number is None or unit is None:
            return None
        end = at + 1 + unit[0]
        length = self._role("ago", end)
        if not length:
            return None
        day = self._back(number, unit[1], at, end)
        return Days(day, day), end + length

    def _weekday(self, at: int, named: bool) -> Found | None:
        found = self._words.weekdays.match(self._tokens, at) if named else None
        if found is None:
            return None
        day = self._latest_weekday(found[1], before_today=False)
        return Days(day, day), at + found[0]

    def _day_and_month(self, at: int, named: bool) -> Found | None:
        """`March`, `March 2024`, `15 March 2024`, `March 15th, 2024`; the latest past one without a year."""
        first = self._number(at)
        begin = at
        if first is not None:
            at += 1 + self._ordinal(at + 1)
            if self._key(at) == "of":
                at += 1
        month = self._words.months.match(self._tokens, at)
        if month is None:
            return None
        at += month[0]
        day = first
        if day is None and (second := self._number(at)) is not None and second <= 31:
            day = second
            at += 1 + self._ordinal(at + 1)
        year_at = at + 1 if day is not None and self._key(at) == "," else at
        year = self._number(year_at)
        if year is not None and EARLIEST <= year <= self._today.year + 1:
            at = year_at + 1
        else:
            if day is None and not named:
                return None
            year = self._today.year - ((month[1], day or 1) > (self._today.month, self._today.day))
        if day is None:
            return _month(year, month[1]), at
        exact = self._date(year, month[1], day, begin, at)
        return Days(exact, exact), at

    def _numeric(self, at: int, named: bool) -> Found | None:
        numbers, sign, end = self._chain(at)
        if not numbers:
            return None
        year = numbers[0]
        text = self._tokens[at].text
        if len(text) == 8 and EARLIEST <= year // 10_000 <= self._today.year + 1:
            exact = self._date(year // 10_000, year // 100 % 100, year % 100, at, end)
            return Days(exact, exact), end
        if len(text) != 4 or not EARLIEST <= year <= self._today.year + 1:
            looks = sign and len(numbers) == 3 and any(n >= EARLIEST for n in numbers)
            if looks or (named and sign and len(numbers) >= 2 and len(text) == 4):
                raise self._unknown(at, end)
            return None
        if len(numbers) == 1 or (len(numbers) == 2 and numbers[1] >= EARLIEST):
            return Days(date(year, 1, 1), date(year, 12, 31)), at + 1
        if len(numbers) == 2:
            exact = self._date(year, numbers[1], 1, at, end)
            return _month(exact.year, exact.month), end
        exact = self._date(year, numbers[1], numbers[2], at, end)
        return Days(exact, exact), end

    def _chain(self, at: int) -> tuple[list[int], str, int]:
        """Numbers joined by the same sign without spaces, at most three: their values, the sign, the end."""
        numbers: list[int] = []
        sign = ""
        first = self._number(at)
        if first is None:
            return numbers, sign, at
        numbers.append(first)
        at += 1
        while len(numbers) < 3 and first < _WHOLE_DATE and at + 1 < len(self._tokens):
            joint, behind = self._tokens[at], self._tokens[at + 1]
            number = behind.number
            fits = joint.key in ("-", "/", ".") and sign in ("", joint.key)
            if not fits or number is None or not behind.glued:
                break
            sign = joint.key
            numbers.append(number)
            at += 2
        return numbers, sign, at

    # -- words and numbers --------------------------------------------------------------------------

    def _key(self, at: int) -> str | None:
        return self._tokens[at].key if at < len(self._tokens) else None

    def _number(self, at: int) -> int | None:
        return self._tokens[at].number if at < len(self._tokens) else None

    def _ordinal(self, at: int) -> int:
        return int(at < len(self._tokens) and self._tokens[at].glued and self._key(at) in _ORDINALS)

    def _role(self, role: str, at: int) -> int:
        found = self._words.roles[role].match(self._tokens, at)
        return 0 if found is None else found[0]

    def _span(self, at: int, end: int) -> tuple[int, int]:
        last = min(end, len(self._tokens)) - 1
        return self._tokens[at].start, self._tokens[last].end

    def _unknown(self, at: int, end: int) -> QuestionError:
        return QuestionError(
            "unknown-date",
            "This date is not understood. Write 2024-01-31, 2024-01, 2024, `31 January 2024`, `last month`, "
            "or `since`, `before`, `between ... and ...` with one of them.",
            self._span(at, end),
        )

    def _date(self, year: int, month: int, day: int, at: int, end: int) -> date:
        try:
            return date(year, month, day)
        except ValueError:
            raise self._unknown(at, end) from None

    def _back(self, number: int, unit: str, at: int, end: int) -> date:
        try:
            return _counted_back(self._today, number, unit)
        except (ValueError, OverflowError):
            raise self._unknown(at, end) from None

    def _latest_weekday(self, weekday: int, *, before_today: bool) -> date:
        back = (self._today.weekday() - weekday) % 7
        return self._today - timedelta(days=back or (7 if before_today else 0))


_WHOLE_DATE = 10_000_000
"""From here up a number can be a date in DICOM's form, 20240115."""
_ORDINALS = frozenset({"st", "nd", "rd", "th"})


def _next(day: date | None) -> date | None:
    return None if day is None else day + timedelta(days=1)


def _previous(day: date | None) -> date | None:
    return None if day is None else day - timedelta(days=1)


def _month(year: int, month: int) -> Days:
    return Days(date(year, month, 1), date(year, month, calendar.monthrange(year, month)[1]))


def _months_on(year: int, month: int, by: int) -> tuple[int, int]:
    whole = year * 12 + (month - 1) + by
    return whole // 12, whole % 12 + 1


def _calendar(unit: str, today: date, by: int) -> Days:
    """The calendar's day, week (Monday to Sunday), month or year, `by` units from today's."""
    if unit == "day":
        day = today + timedelta(days=by)
        return Days(day, day)
    if unit == "week":
        monday = today - timedelta(days=today.weekday() - 7 * by)
        return Days(monday, monday + timedelta(days=6))
    if unit == "month":
        return _month(*_months_on(today.year, today.month, by))
    return Days(date(today.year + by, 1, 1), date(today.year + by, 12, 31))


def _counted_back(today: date, number: int, unit: str) -> date:
    """So many units before today; the last day of a month where it has no such day. Raises ValueError or
    OverflowError where there is no such date."""
    if number > MOST_BACK:
        raise OverflowError
    if unit in ("day", "week"):
        return today - timedelta(days=number * (7 if unit == "week" else 1))
    year, month = _months_on(today.year, today.month, -number * (12 if unit == "year" else 1))
    return date(year, month, min(today.day, calendar.monthrange(year, month)[1]))
