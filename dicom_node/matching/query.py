"""A query by attributes: read from its identifier, narrowed for the register, decided on what comes back.

    Attributes --read_query--> Query --narrowing--> rows --Query.fulfilled_by--> matches

What SQL narrows never leaves out a match; what a match is, is decided here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

from dicom_node.errors import QuestionError
from dicom_node.matching.attributes import Attributes, texts
from dicom_node.matching.keys import ABOUT_THE_ANSWER, KEYS, QUERY_LEVEL, TIMEZONE, UNIQUE, Level, tag_of
from dicom_node.matching.times import Stretch, date_of, offset_of, range_of, stretch_of, time_of
from dicom_node.matching.values import Entry, Matcher, Rules, UnfitKeyError, is_universal, matcher_of, shown

PAIRS: tuple[tuple[str, str], ...] = tuple(
    (tag_of(f"{what}Date"), tag_of(f"{what}Time"))
    for what in (
        "Study", "Series", "Acquisition", "Content", "InstanceCreation", "PresentationCreation",
        "PerformedProcedureStepStart",
    )
)  # fmt: skip
"""A date and the time of that day."""
SECOND = timedelta(seconds=1)


class Root(StrEnum):
    """Of a Query/Retrieve information model (PS3.4 section C.6)."""

    PATIENT = "patient"
    STUDY = "study"


class Reason(StrEnum):
    """`QuestionError.reason` of this room; stable, for programs."""

    NO_LEVEL = "no-level"
    WRONG_LEVEL = "wrong-level"
    NO_UNIQUE_KEY = "no-unique-key"
    UNFIT_KEY = "unfit-key"


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """What is asked."""

    level: Level
    keys: Attributes
    """As they were sent, those that are supported: an answer holds them all."""
    matchers: Mapping[str, Matcher]
    """By tag; a key without one lets everything through."""
    together: tuple[tuple[str, str, Stretch], ...]
    """Date and time that are one range."""
    unsupported: tuple[str, ...]
    """Tags that nobody here can match or tell."""
    zone: timezone | None
    """Dates and times of the keys are in this one; None: as the objects have them."""

    def fulfilled_by(self, attributes: Mapping[str, Entry]) -> bool:
        """Whether an entity is a match."""
        held = attributes if self.zone is None else in_zone(attributes, self.zone)
        return all(fits(held.get(tag)) for tag, fits in self.matchers.items()) and all(
            _falls_into(held, date, time, wanted) for date, time, wanted in self.together
        )

    def told(self, attributes: Mapping[str, Entry]) -> Attributes:
        """What an answer tells of an entity: every key, empty where the entity has nothing."""
        return {
            tag: shown(attributes[tag], key) if tag in attributes else {"vr": key["vr"]}
            for tag, key in self.keys.items()
        }


def level_of(attributes: Attributes, root: Root) -> Level:
    """Query/Retrieve Level (0008,0052). Raises QuestionError where there is none, or none of this root's."""
    told = " ".join(texts(attributes.get(QUERY_LEVEL)))
    if not told:
        raise QuestionError(Reason.NO_LEVEL, "Query/Retrieve Level (0008,0052) is missing")
    allowed = [level.name for level in Level if root is Root.PATIENT or level is not Level.PATIENT]
    if told not in allowed:
        # The comment of an answer has 64 characters.
        raise QuestionError(Reason.WRONG_LEVEL, f"Query/Retrieve Level must be {', '.join(allowed)}")
    return Level[told]


def read_query(
    attributes: Attributes, level: Level, root: Root, rules: Rules, unread: Collection[str] = ()
) -> Query:
    """`unread`: tags of keys besides, of which nobody can tell what they ask.

    Raises QuestionError where a unique key of a level above is missing, and where a key cannot be read.
    """
    above = [upper for upper in Level if upper < level and (root is Root.PATIENT or upper > Level.PATIENT)]
    if not rules.relational:
        for upper in above:
            _require_one_value(attributes, upper, level)
    asked = {
        tag: entry
        for tag, entry in attributes.items()
        if tag not in ABOUT_THE_ANSWER and not tag.endswith("0000")
    }
    keys = {tag: entry for tag, entry in asked.items() if tag in KEYS and KEYS[tag].level <= level}
    zone = offset_of(" ".join(texts(keys.get(TIMEZONE)))) if rules.timezone_adjusted else None
    together = _together(keys, rules)
    apart = {TIMEZONE, *(tag for date, time, _ in together for tag in (date, time))}
    unsupported = (asked.keys() | set(unread)) - keys.keys()
    matchers = {}
    for tag, entry in keys.items():
        matcher = None if tag in apart else _matcher(tag, entry, rules, zone)
        if matcher is not None:
            matchers[tag] = matcher
    return Query(level, keys, matchers, together, tuple(sorted(unsupported)), zone)


def _require_one_value(attributes: Attributes, upper: Level, level: Level) -> None:
    key = KEYS[UNIQUE[upper]]
    values = texts(attributes.get(key.tag))
    if len(values) != 1 or set(values[0]) & set("*?"):
        raise QuestionError(Reason.NO_UNIQUE_KEY, f"{key.keyword} must hold one value at level {level.name}")


def _matcher(tag: str, entry: Entry, rules: Rules, zone: timezone | None) -> Matcher | None:
    try:
        return matcher_of(entry, rules, zone or UTC)
    except UnfitKeyError as error:
        raise QuestionError(Reason.UNFIT_KEY, f"{KEYS[tag].keyword}: its value cannot be read") from error


def _together(keys: Attributes, rules: Rules) -> tuple[tuple[str, str, Stretch], ...]:
    if not rules.combined_datetime:
        return ()
    found = []
    for date, time in PAIRS:
        if date in keys and time in keys and not is_universal(keys[date]) and not is_universal(keys[time]):
            days = range_of(" ".join(texts(keys[date])), "DA")
            hours = range_of(" ".join(texts(keys[time])), "TM")
            if days is None or hours is None:
                raise QuestionError(Reason.UNFIT_KEY, f"{KEYS[date].keyword}: date or time cannot be read")
            first, last = _joined(days.first, hours.first), _joined(days.last, hours.last)
            found.append((date, time, Stretch(first, last)))
    return tuple(found)


def _joined(day: datetime | None, hour: datetime | None) -> datetime | None:
    if day is None:
        return None
    return day if hour is None else datetime.combine(day.date(), hour.timetz())


def _falls_into(held: Mapping[str, Entry], date: str, time: str, wanted: Stretch) -> bool:
    day = stretch_of(" ".join(texts(held.get(date))), "DA")
    if day is None or day.first is None:
        return False
    hour = stretch_of(" ".join(texts(held.get(time))), "TM")
    if hour is None:
        return wanted.meets(day)
    return wanted.meets(Stretch(_joined(day.first, hour.first), _joined(day.first, hour.last)))


def in_zone(attributes: Mapping[str, Entry], zone: timezone) -> Mapping[str, Entry]:
    """Dates and times of an entity, told in another zone.

    The entity's own is its Timezone Offset From UTC (0008,0201), else that of this machine at that time. A
    date without a time, and a time without a date, stay what they are.
    """
    told = " ".join(texts(attributes.get(TIMEZONE)))
    own = offset_of(told)
    moved: dict[str, Any] = {}
    for date, time in PAIRS:
        day = date_of(" ".join(texts(attributes.get(date))))
        hour = time_of(" ".join(texts(attributes.get(time))))
        if day is None or hour is None:
            continue
        try:
            there = datetime.combine(day, hour[0], own).astimezone(zone)
        except OverflowError:  # 1 January of the year 1 stands for "unknown"
            continue
        moved[date] = {"vr": "DA", "Value": [f"{there.year:04}{there.month:02}{there.day:02}"]}
        # As many digits as it had: they tell how long it lasts.
        form = "%H%M%S.%f" if hour[1] < SECOND else "%H%M%S" if hour[1] == SECOND else "%H%M"
        moved[time] = {"vr": "TM", "Value": [there.strftime(form)]}
    if own is not None:
        for tag, entry in attributes.items():
            if entry["vr"] == "DT":
                values = [_with_offset(value, told) for value in entry.get("Value", [])]
                moved[tag] = {"vr": "DT", "Value": values}
    return {**attributes, **moved}


def _with_offset(value: str | None, offset: str) -> str | None:
    """A DT that says in which zone it is."""
    return value if value is None or set(value) & set("+-") else value + offset.strip()
