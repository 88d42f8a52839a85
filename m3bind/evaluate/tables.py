"""Figures as text, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]


def number(value: float | None) -> str:
    """.912, 1.000, -.031, or a dash for what there is not."""
    if value is None:
        return "-"
    text = f"{round(value, 3) + 0.0:.3f}"  # + 0.0: nought has no sign
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def with_interval(figure: Told | None) -> str:
    """.912 (.850 to .961)."""
    if figure is None or figure.get("value") is None:
        return "-"
    return f"{number(figure['value'])} ({number(figure['low'])} to {number(figure['high'])})"


def with_chance(figure: Told) -> str:
    """.912 (.850 to .961), chance .500."""
    return f"{with_interval(figure)}, chance {number(figure['chance'])}"


def across_cells(m: Told) -> list[str]:
    """mAP, above chance and R@10 of a retrieval across modalities."""
    return [with_chance(m["mAP"]), with_interval(m["above chance"]), with_chance(m["R@10"])]


def yes_no(value: bool) -> str:
    """A verdict; no stands out."""
    return "yes" if value else "**no**"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]
