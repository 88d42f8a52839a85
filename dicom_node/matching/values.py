"""Whether one attribute of an entity fulfils one key: PS3.4 section C.2.2.2, as plain functions.

| matching | section     | for                                                        |
|----------|-------------|------------------------------------------------------------|
| single   | C.2.2.2.1   | all                                                        |
| UID list | C.2.2.2.2   | UI                                                         |
| universal| C.2.2.2.3   | all: the key is empty, or `*`                              |
| wildcard | C.2.2.2.4   | strings but dates, times, numbers and UIDs                 |
| range    | C.2.2.2.5   | DA, TM, DT                                                 |
| sequence | C.2.2.2.6   | SQ: one item fulfils all keys of the key's item            |
| empty    | C.2.2.2.7   | all, where negotiated: the key is two quotation marks      |
| multiple | C.2.2.2.8   | all, where negotiated: one of several values               |

Names are compared without regard to case and accents, each component group for itself, which section
C.2.2.2.1 permits; everything else is compared as it stands.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timezone
from typing import Any

from dicom_node.matching.attributes import BINARY, PN_GROUPS, Attributes, as_text, texts
from dicom_node.matching.times import range_of, stretch_of

Entry = Mapping[str, Any]
Matcher = Callable[[Entry | None], bool]
"""Of an entity's attribute, None where it has none."""

WILD = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS"})
"""VRs in which `*` and `?` are wildcards. AS is none of the standard's; `0*Y` does no harm."""
TEMPORAL = frozenset({"DA", "TM", "DT"})
EMPTY = '""'


@dataclass(frozen=True, slots=True)
class Rules:
    """What was negotiated for an association (PS3.4 section C.5.1.1)."""

    relational: bool = False
    """Keys of levels above may be left out, and need not be single values."""
    combined_datetime: bool = False
    """A date's and its time's range are one range (PS3.4 section C.2.2.2.5)."""
    timezone_adjusted: bool = False
    """Dates and times of the key are in the zone that the key names."""
    empty_values: bool = False
    multiple_values: bool = False


PLAIN = Rules()
"""Nothing was negotiated."""


class UnfitKeyError(ValueError):
    """A key that no value of its VR can be compared with."""


def fold(text: str) -> str:
    """A name without case, accents and empty components at its end."""
    bare = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    groups = (group.strip().rstrip("^ ") for group in bare.casefold().split("="))
    return "=".join("^".join(part.strip() for part in group.split("^")) for group in groups).rstrip("=")


def is_universal(entry: Entry, rules: Rules = PLAIN) -> bool:
    """Whether a key lets every entity through."""
    if entry["vr"] == "SQ":
        return all(is_universal(nested, rules) for item in entry.get("Value", []) for nested in item.values())
    values = texts(entry)
    return not any(values) or (len(values) == 1 and set(values[0]) == {"*"} and entry["vr"] not in BINARY)


def matcher_of(entry: Entry, rules: Rules, zone: timezone) -> Matcher | None:
    """What a key asks of an entity's attribute; None for universal matching. `zone` is that of a DT
    without an offset.

    Raises UnfitKeyError where the key cannot be read.
    """
    if is_universal(entry, rules):
        return None
    vr = entry["vr"]
    if vr == "SQ":
        return _sequence(entry, rules, zone)
    values = texts(entry)
    if rules.empty_values and values == [EMPTY]:
        return lambda held: not any(texts(held))
    single = _range(vr, zone) if vr in TEMPORAL else _SINGLE.get(vr, _plain)
    if len(values) > 1 and vr != "UI" and not rules.multiple_values:
        # Several values where one is due: all that can be meant is the string as it was sent.
        values = ["\\".join(values)] if vr in WILD else values
    if len(values) > 1 and vr not in WILD | {"UI"} and not rules.multiple_values:
        raise UnfitKeyError
    if vr == "UI":  # of which a key may hold thousands
        wanted = frozenset(values)
        return lambda held: not wanted.isdisjoint(texts(held))
    matchers = [single(value) for value in values if value]
    return lambda held: any(one(value) for value in texts(held) for one in matchers)


OneMatcher = Callable[[str], bool]


def _plain(key: str) -> OneMatcher:
    if "*" not in key and "?" not in key:
        return lambda value: value == key
    pattern = re.compile(pattern_of(key), re.DOTALL)
    return lambda value: pattern.fullmatch(value) is not None


def pattern_of(key: str) -> str:
    """The regular expression of a key with wildcards."""
    first, *rest = (
        "".join("." if c == "?" else re.escape(c) for c in part) for part in re.split(r"\*+", key)
    )
    if not rest:
        return first
    # Between two asterisks the first place is as good as any other, and is never given up again: without
    # that, "*a*a*a*a*b" would take time without end.
    return first + "".join(f"(?>.*?{part})" for part in rest[:-1]) + ".*" + rest[-1]


def _number(key: str) -> OneMatcher:
    try:
        wanted = float(key)
    except ValueError as error:
        raise UnfitKeyError from error

    def fits(value: str) -> bool:
        try:
            return float(value) == wanted
        except ValueError:
            return False

    return fits


def _range(vr: str, zone: timezone) -> Callable[[str], OneMatcher]:
    def of(key: str) -> OneMatcher:
        wanted = range_of(key, vr, zone)
        if wanted is None:
            raise UnfitKeyError

        def fits(value: str) -> bool:
            held = stretch_of(value, vr, zone)
            return held is not None and wanted.meets(held)

        return fits

    return of


def _person(key: str) -> OneMatcher:
    """Each component group of the key is looked for among the same groups of the name; a key with a single
    group in any of them, since devices put them where they like."""
    patterns = [_group(group) if group else None for group in fold(key).split("=")]

    def fits(value: str) -> bool:
        held = fold(value).split("=")
        if len(patterns) == 1:
            only = patterns[0]
            return only is None or any(only.fullmatch(group) is not None for group in held)
        told = held + [""] * len(PN_GROUPS)
        return all(
            p is None or p.fullmatch(group) is not None for p, group in zip(patterns, told, strict=False)
        )

    return fits


def name_keys(group: str) -> list[str]:
    """What finds a folded component group: `doe^*` finds `doe` too, whose first name is empty, and whose
    caret is therefore not there."""
    stem = group.rstrip("*^ ")
    return [group, stem] if stem and group.rstrip("*").endswith("^") and group.endswith("*") else [group]


def _group(group: str) -> re.Pattern[str]:
    return re.compile("|".join(pattern_of(key) for key in name_keys(group)), re.DOTALL)


_SINGLE: Mapping[str, Callable[[str], OneMatcher]] = {
    "PN": _person,
    **dict.fromkeys(("DS", "IS", *BINARY), _number),
}


def _sequence(entry: Entry, rules: Rules, zone: timezone) -> Matcher:
    items = entry.get("Value", [])
    if len(items) != 1:
        raise UnfitKeyError  # PS3.4 section C.2.2.2.6: one item
    matchers = [(tag, matcher_of(nested, rules, zone)) for tag, nested in items[0].items()]

    def fits(held: Entry | None) -> bool:
        told: list[Attributes] = [] if held is None else held.get("Value", [])
        return any(all(one is None or one(item.get(tag)) for tag, one in matchers) for item in told)

    return fits


def shown(entry: Entry, wanted: Entry) -> dict[str, Any]:
    """An attribute as an answer tells it: of a sequence only what the key's item names, all of it where the
    key has no item, or an empty one."""
    items = wanted.get("Value", [])
    if wanted["vr"] != "SQ" or not items or not items[0]:
        return dict(entry)
    told = [
        {tag: shown(item[tag], key) if tag in item else {"vr": key["vr"]} for tag, key in items[0].items()}
        for item in entry.get("Value", [])
    ]
    return {"vr": "SQ", "Value": told}


def joined(entry: Entry | None) -> str:
    """All values of an attribute as one string."""
    return "\\".join(as_text(value) for value in ([] if entry is None else entry.get("Value", [])))
