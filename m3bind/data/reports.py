"""What the reports of PTB-XL tell beyond their codes: phrases in three languages, kept as data
(reports.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

RHYTHMS = frozenset(
    {"SR", "AFIB", "AFLT", "STACH", "SBRAD", "SARRH", "PACE", "SVARR", "SVTAC", "PSVT", "BIGU", "TRIGU"}
)
"""PTB-XL's rhythm statements (scp_statements.csv)."""
NO_RHYTHM = "rhythm?"
"""Stands for a record of which neither codes nor report tell the rhythm."""


@cache
def _file() -> Mapping[str, Any]:
    return tomllib.loads((resources.files("m3bind") / "data" / "reports.toml").read_text("utf-8"))


def phrases(column: str) -> Mapping[str, Sequence[str]]:
    """Token to phrases, in the order of reports.toml."""
    tokens: dict[str, Mapping[str, Sequence[str]]] = {c["name"]: c["tokens"] for c in _file()["column"]}
    return tokens[column]


def statements() -> Mapping[str, Sequence[str]]:
    """Finding to the phrases of which a report must have one to state it; "ecg.normal" stands for health."""
    found: Mapping[str, Sequence[str]] = _file()["statements"]
    return found


def says(text: str, words: Sequence[str]) -> bool:
    """Whether a folded text has one of the phrases."""
    return any(word in text for word in words)


def folded(report: str) -> str:
    """Lower case, single spaces."""
    return " ".join(report.casefold().split())


def told(report: str, column: str) -> str | None:
    """The token of `column` that the report states, None where it states none."""
    text = folded(report)
    for token, words in phrases(column).items():
        if says(text, words):
            return token
    return None


def with_rhythm(codes: Collection[str], report: str) -> frozenset[str]:
    """The codes; where none is of a rhythm, with the one that the report tells, or with NO_RHYTHM.

    Without this a record whose report begins with "atrial fibrillation", but whose codes leave it out,
    would count as one without.
    """
    stated = frozenset(codes)
    if stated & RHYTHMS:
        return stated
    return stated | {told(report, "rhythm") or NO_RHYTHM}
