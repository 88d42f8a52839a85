"""The targets as a table for people. Pure: figures in, lines out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import words
from m3bind.evaluate.tables import number, table, with_interval
from m3bind.evaluate.words import prose

Told = Mapping[str, Any]

HEAD = (
    "modality",
    "task",
    "n (groups)",
    "positives",
    "zero-shot AUC",
    "target",
    "",
    "probe, given",
    "probe, here",
)


def _verdict(row: Told) -> str:
    if row["measured"] is not None:
        verdict = "met" if row["met"] else f"**missed by {number(row['missed_by'])}**"
        return f"{verdict}, not this checkpoint" if row["source"] else verdict
    why = row.get("why") or (f"{row['source']} is not there" if row["source"] else None)
    return "not measured" if why is None else f"not measured: {why}"


def _count(figure: Told) -> str:
    groups = figure["groups"]
    return str(figure["n"]) if groups is None else f"{figure['n']} ({groups})"


def _note(row: Told) -> str | None:
    """What a row leaves out, and its figure by other readings of the labels."""
    figure, parts = row["measured"], []
    if row.get("leaves_out") and figure is not None:
        parts.append(f"{figure['left_out']} more are left out: {row['leaves_out']}.")
    parts += [
        f"{name[0].upper()}{name[1:]}: {with_interval(other)}, {other['positives']} of {other['n']}."
        for name, other in row.get("readings", {}).items()
    ]
    if row["source"] and figure is not None:
        parts.append(" ".join(prose(words.NOT_THIS, source=row["source"])).strip())
    if not parts or figure is None:
        return None
    return f"- {row['task']}: {figure['positives']} positives of {figure['n']}. {' '.join(parts)}"


def section(targets: list[Told]) -> list[str]:
    """The table, what it means, and notes on rows whose labels can be read in several ways."""
    rows = [
        [
            row["modality"],
            row["task"],
            "-" if row["measured"] is None else _count(row["measured"]),
            "-" if row["measured"] is None else str(row["measured"]["positives"]),
            with_interval(row["measured"]),
            number(row["target"]),
            _verdict(row),
            number(row["probe_given"]),
            with_interval(row["probe_here"]),
        ]
        for row in targets
    ]
    notes = [note for note in map(_note, targets) if note is not None]
    return ["## Targets", "", *table(HEAD, rows), *prose(words.TARGETS), *notes, *([""] if notes else [])]


def summary(targets: list[Told]) -> list[str]:
    """One line each, for the terminal."""
    lines = []
    for row in targets:
        figure = row["measured"]
        count = "" if figure is None else f", {figure['positives']} positives of {figure['n']}"
        said = _verdict(row).replace("*", "")
        lines.append(f"{row['task']}: {with_interval(figure)}{count}, target {number(row['target'])}, {said}")
    return lines
