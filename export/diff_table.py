"""A difference of two bundles as plain lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from export.diff import Change, Difference, Figure, Names

LONGEST = 60
"""Characters of a value; the rest is in the JSON."""


def difference_lines(told: Difference) -> list[str]:
    """For people: a heading for each kind of change, nothing for what is alike."""
    lines = [f"from  {told.before}", f"to    {told.after}"]
    for title, content in (
        ("files", _names(told.files)),
        ("manifest", _changes(told.manifest)),
        ("encoders", _names(told.encoders)),
        ("settings of encoders", _changes(told.settings)),
        ("findings", _names(told.findings)),
        ("on or off", _changes(told.switched)),
        ("thresholds", _changes(told.thresholds)),
        ("scope", _names(told.scope)),
        ("figures (95 % interval)", _figures(told.figures)),
    ):
        found = list(content)
        if found:
            lines += ["", title, *(f"  {line}" for line in found)]
    return lines if len(lines) > 2 else [*lines, "", "no difference"]


def _names(names: Names) -> Iterator[str]:
    for what in ("added", "removed", "changed"):
        for name in getattr(names, what):
            yield f"{what:<8} {name}"


def _changes(changes: Sequence[Change]) -> Iterator[str]:
    for change in changes:
        yield f"{change.what}: {_value(change.before)} -> {_value(change.after)}"


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    width = max((len(figure.finding) for figure in figures), default=0)
    for each in figures:
        yield (
            f"{each.finding:<{width}}  {each.what:<11}  {_interval(each.before):<22}  "
            f"{_interval(each.after):<22}  {each.verdict}"
        )


def _interval(figure: tuple[float, float, float] | None) -> str:
    return "-" if figure is None else f"{figure[0]:.3f} ({figure[1]:.3f}-{figure[2]:.3f})"


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
