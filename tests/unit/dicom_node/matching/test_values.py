"""One key against one attribute, by every kind of matching of PS3.4 section C.2.2.2."""

from __future__ import annotations

import re
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.matching.attributes import split
from dicom_node.matching.narrow import like_of
from dicom_node.matching.values import (
    PLAIN,
    Rules,
    UnfitKeyError,
    fold,
    is_universal,
    matcher_of,
    pattern_of,
    shown,
)


def entry(vr: str, text: str) -> dict[str, Any]:
    return {"vr": vr, "Value": split(text, vr)}


def matches(vr: str, key: str, held: str | None, rules: Rules = PLAIN) -> bool:
    test = matcher_of(entry(vr, key), rules, UTC)
    return test is None or test(None if held is None else entry(vr, held))


@pytest.mark.parametrize(
    ("vr", "key", "held", "expected"),
    [
        ("LO", "A*C", "ABBC", True),
        ("LO", "A?C", "ABBC", False),
        ("LO", "a*", "ABC", False),
        ("LO", "A.C", "ABC", False),
        ("LO", "B", "A\\B", True),
        ("LO", "A\\B", "A", False),
        ("LO", "*", None, True),
        ("LO", "?*", None, False),
        ("LO", "", "anything", True),
        ("LO", " A ", "A", True),
        ("CS", "C?", "CT", True),
        ("ST", "a\\b*", "a\\bc", True),
        ("UI", "1.2\\1.3", "1.3", True),
        ("UI", "1.*", "1.2", False),
        ("UI", "*", "1.2", True),
        ("IS", "7", "007", True),
        ("DS", "1.50", "1.5", True),
        ("DS", "1.5", "many", False),
        ("US", "512", "512", True),
        ("PN", "doe^j*", "DOE^JANE", True),
        ("PN", "Doe", "Doe^^^", True),
        ("PN", "Doe^*", "Doe", True),
        ("PN", "Doe?", "Doe", False),
        ("PN", "Doe*", "Doering^X", True),
        ("PN", "muller", "Müller", True),
        ("PN", "Straße", "STRASSE", True),
        ("PN", "山田*", "Yamada=山田^太郎", True),
        ("PN", "=山田^太郎", "Yamada^Tarou=山田^太郎=やまだ", True),
        ("PN", "山田=Yamada", "Yamada=山田", False),
        ("DA", "20240229", "20240229", True),
        ("DA", "20240229", "2024.02.29", True),
        ("DA", "20240101-20240131", "20240131", True),
        ("DA", "20240101-20240131", "20240201", False),
        ("DA", "-20240131", "19000101", True),
        ("DA", "20240201-", "20240131", False),
        ("DA", "20240201-", None, False),
        ("DA", "20240201-99991231", "20250101", True),
        ("TM", "10", "105959.999", True),
        ("TM", "1000-1059", "105959.5", True),
        ("TM", "1000-1059", "110000", False),
        ("TM", "101530", "10:15:30", True),
        ("TM", "-0900", "0900", True),
        ("DT", "2024", "20241231235959", True),
        ("DT", "2024-2025", "20250601", True),
        ("DT", "20240101120000+0100", "20240101110000+0000", True),
        ("DT", "20240101120000-0500-20240101130000-0500", "20240101173000", True),
        ("DT", "20240101120000-", "20240101115959", False),
        ("AS", "0*Y", "041Y", True),
    ],
)  # fmt: skip
def test_one_key(vr: str, key: str, held: str | None, expected: bool) -> None:
    assert matches(vr, key, held) is expected


@pytest.mark.parametrize(
    ("vr", "key"),
    [
        ("DA", "yesterday"),
        ("DA", "20241301"),
        ("DA", "-"),
        ("DA", "20240101\\20240102"),
        ("TM", "25"),
        ("IS", "one"),
        ("DT", "x-y"),
    ],
)
def test_keys_that_cannot_be_read(vr: str, key: str) -> None:
    with pytest.raises(UnfitKeyError):
        matches(vr, key, "20240101")


def test_what_must_be_negotiated() -> None:
    more = Rules(empty_values=True, multiple_values=True)
    assert matches("LO", '""', None, more)
    assert not matches("LO", '""', "A", more)
    assert not matches("LO", '""', None)
    assert matches("LO", "A\\B", "B", more)
    assert matches("DA", "20240101\\20240301-", "20240401", more)


def test_sequences() -> None:
    def code(value: str, scheme: str) -> dict[str, Any]:
        return {"00080100": entry("SH", value), "00080102": entry("SH", scheme)}

    held = {"vr": "SQ", "Value": [code("1", "A"), code("2", "B")]}

    def asked(*items: dict[str, Any]) -> bool:
        test = matcher_of({"vr": "SQ", "Value": list(items)}, PLAIN, UTC)
        return test is None or test(held)

    assert asked(code("2", "B"))
    assert not asked(code("1", "B"))  # one item has to fulfil all of it
    assert asked(code("", ""))
    assert asked()
    with pytest.raises(UnfitKeyError):
        asked(code("1", "A"), code("2", "B"))
    only = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH"}, "00080104": {"vr": "LO"}}]}
    assert shown(held, only)["Value"][0] == {"00080100": entry("SH", "1"), "00080104": {"vr": "LO"}}
    assert shown(held, {"vr": "SQ", "Value": [{}]}) == held


def test_universal_keys() -> None:
    assert is_universal({"vr": "PN"})
    assert is_universal(entry("PN", "**"))
    assert not is_universal(entry("PN", "*a"))
    assert is_universal({"vr": "SQ", "Value": [{"00080100": {"vr": "SH"}}]})


def test_many_asterisks_take_no_time() -> None:
    assert not matches("LO", "*" * 60 + "b", "a" * 5000)
    assert not matches("PN", "*a" * 40 + "*b", "a" * 5000)
    assert matches("LT", "*a" * 40 + "*", "a" * 5000)


KEYS = st.text(alphabet="aB*?%_\\.é", max_size=8)
VALUES = st.text(alphabet="aB%_\\.é", max_size=8)


@given(KEYS, VALUES)
def test_sql_and_the_rule_agree(key: str, value: str) -> None:
    """LIKE as PostgreSQL has it, told as a regular expression, against the pattern of the rule."""
    like = re.sub(r"\\(.)|(%)|(_)|(.)", _as_pattern, like_of(key), flags=re.DOTALL)
    assert bool(re.fullmatch(like, value, re.DOTALL)) == bool(re.fullmatch(pattern_of(key), value, re.DOTALL))


def _as_pattern(found: re.Match[str]) -> str:
    if found[1] is not None or found[4] is not None:
        return re.escape(found[1] or found[4])
    return ".*" if found[2] else "."


@given(st.text(max_size=20))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert fold(fold(text)) == fold(text)
