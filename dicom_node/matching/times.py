"""Dates and times as intervals: what `2024`, `1030-`, `20240101-20240131` or `2024+0100` cover.

A value of DA, TM or DT (PS3.5 section 6.2) is a point or, with fewer digits, a stretch of time; a key with a
hyphen is a range that may be open (PS3.4 section C.2.2.2.5). An entity's value matches where the two overlap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone

DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)

_DATE = re.compile(r"(\d{4})[.\-/:]?(\d{2})[.\-/:]?(\d{2})")
_TIME = re.compile(r"(\d{2})(?::?(\d{2})(?::?(\d{2})(?:\.(\d{1,6}))?)?)?")
_DATETIME = re.compile(
    r"(\d{4})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?)?)?)?([+-]\d{4})?"
)
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `first` up to and including `last`; None: open on that side."""

    first: datetime | None
    last: datetime | None

    def meets(self, other: Stretch) -> bool:
        """Whether the two overlap."""
        begins = other.first is None or self.last is None or other.first <= self.last
        return begins and (self.first is None or other.last is None or self.first <= other.last)


def offset_of(text: str) -> timezone | None:
    """Timezone Offset From UTC (0008,0201): `+0100`. None where it is none."""
    found = _OFFSET.fullmatch(text.strip())
    if found is None:
        return None
    minutes = int(found[2]) * 60 + int(found[3])
    if minutes > 14 * 60:
        return None
    return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))


def date_of(text: str) -> date | None:
    """A DA; also as ACR-NEMA wrote it, `2024.01.31`. None where it is none."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        return None


def time_of(text: str) -> tuple[time, timedelta] | None:
    """A TM, also as ACR-NEMA wrote it, `10:30:00`: when it begins, and how long it lasts, by its digits."""
    found = _TIME.fullmatch(text.strip())
    if found is None:
        return None
    hour, minute, second, fraction = found.groups()
    try:
        begins = time(int(hour), int(minute or 0), min(int(second or 0), 59), _micro(fraction))
    except ValueError:
        return None
    return begins, _lasts(minute, second, fraction)


def _micro(fraction: str | None) -> int:
    return int((fraction or "0").ljust(6, "0"))


def _lasts(minute: str | None, second: str | None, fraction: str | None) -> timedelta:
    if minute is None:
        return timedelta(hours=1)
    if second is None:
        return timedelta(minutes=1)
    return timedelta(seconds=1) if fraction is None else timedelta(seconds=10.0 ** -len(fraction))


NO_DAY = date(2000, 1, 1)
"""Times of day are compared on this one."""


def stretch_of(text: str, vr: str, zone: timezone = UTC) -> Stretch | None:
    """One value without a hyphen, from its first to its last instant. DT without an offset is in `zone`."""
    if vr == "DA":
        day = date_of(text)
        return None if day is None else _from(datetime.combine(day, time(), UTC), DAY)
    if vr == "TM":
        told = time_of(text)
        return None if told is None else _from(datetime.combine(NO_DAY, told[0], UTC), told[1])
    return _datetime(text, zone)


def _datetime(text: str, zone: timezone) -> Stretch | None:
    found = _DATETIME.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, offset = found.groups()
    own = zone if offset is None else offset_of(offset)
    try:
        begins = datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0),
            min(int(second or 0), 59), _micro(fraction), own,
        )  # fmt: skip
        if month is None:
            lasts = begins.replace(year=begins.year + 1) - begins
        elif day is None:
            lasts = (
                begins.replace(year=begins.year + begins.month // 12, month=begins.month % 12 + 1) - begins
            )
        else:
            lasts = DAY if hour is None else _lasts(minute, second, fraction)
    except (ValueError, OverflowError):
        return None
    return _from(begins, lasts)


def _from(begins: datetime, lasts: timedelta) -> Stretch:
    return Stretch(begins, begins + (lasts - INSTANT))  # 31 December 9999 has no day after it


def range_of(text: str, vr: str, zone: timezone = UTC) -> Stretch | None:
    """A key: one value, or a range of two that may be open. None where it cannot be read.

    In a DT a hyphen may begin an offset: `2024-0500` is a year in that zone, `2024-2025` a range. What can be
    read as one value is one (PS3.4 section C.2.2.2.5 has offsets before the range's hyphen).
    """
    whole = text.strip()
    if (single := stretch_of(whole, vr, zone)) is not None and not (vr == "DT" and _two_years(whole)):
        return single
    for at in (index for index, letter in enumerate(whole) if letter == "-"):
        before, after = whole[:at].strip(), whole[at + 1 :].strip()
        first = stretch_of(before, vr, zone) if before else None
        last = stretch_of(after, vr, zone) if after else None
        if (before and first is None) or (after and last is None) or not (before or after):
            continue
        return Stretch(None if first is None else first.first, None if last is None else last.last)
    return None


def _two_years(text: str) -> bool:
    """`2024-2025`: no zone lies more than 14 hours from UTC."""
    return re.fullmatch(r"\d{4,}-\d{4}", text) is not None and int(text[-4:]) > 1400
