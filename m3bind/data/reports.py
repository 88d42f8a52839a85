"""What the reports of PTB-XL tell beyond their codes: phrases kept as data (reports.toml), three languages."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources

RHYTHMS = frozenset(
    {"SR", "AFIB", "AFLT", "STACH", "SBRAD", "SARRH", "PACE", "SVARR", "SVTAC", "PSVT", "BIGU", "TRIGU"}
)
"""PTB-XL's rhythm statements (scp_statements.csv)."""
NO_RHYTHM = "rhythm?"
"""Stands for a record of which neither codes nor report tell the rhythm."""


@cache
def phrases() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """reports.toml: column to token to phrases, in the order of the file."""
    text = (resources.files("m3bind") / "data" / "reports.toml").read_text("utf-8")
    return {
        column["name"]: {token: tuple(words) for token, words in column["tokens"].items()}
        for column in tomllib.loads(text)["column"]
    }


def folded(report: str) -> str:
    """Lower case, single spaces."""
    return " ".join(report.casefold().split())


def told(report: str, column: str) -> str | None:
    """The token of `column` that the report states, None where it states none."""
    text = folded(report)
    for token, words in phrases()[column].items():
        if any(word in text for word in words):
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
