"""What the figures leave out, and what is wrong with their data: looked up here, not asserted."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from m3bind.config import Recipe
from m3bind.data.examples import duplicates, examples
from m3bind.data.sources import data_root
from m3bind.evaluate import words
from m3bind.evaluate.embedded import Data
from m3bind.evaluate.words import prose
from m3bind.evaluate.zero_shot import has_both


def without_figure(data: Data, fewest: int) -> dict[str, int]:
    """Finding id to its positives in val, of findings that are not measured because these are too few."""
    told = {}
    for spec in data.illnesses:
        labels = data.val.label(spec.id)
        if not has_both(labels, data.val.sets, fewest):
            told[spec.id] = int((labels == 1).sum())
    return told


def reports_at_hand() -> int | None:
    """Rows of PTB-XL's all_reports.csv; None where there is none."""
    path = data_root() / "ecg/ptbxl/all_reports.csv"
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.DictReader(file))


def look_up(recipe: Recipe, data: Mapping[str, Data]) -> dict[str, Any]:
    """The facts of `section`, and the findings without a figure; reads every file for its digest."""
    same = [
        [held, known]
        for modality in data
        for held, known in duplicates(
            examples(recipe, modality, "val"), [e for e in examples(recipe, modality) if e.split != "val"]
        )
    ]
    shown = any("ptbxl" in recipe.modalities[m].datasets for m in data)
    return {
        "without_figure": {m: without_figure(d, recipe.evaluate.min_positives) for m, d in data.items()},
        "duplicates": same,
        "reports": reports_at_hand() if shown else None,
    }


def section(limits: Mapping[str, Any] | None) -> list[str]:
    """Lines of the page; none for figures of a time that told no limits."""
    if limits is None:
        return []
    same = "; ".join(f"`{held}` of val and `{known}` of training" for held, known in limits["duplicates"])
    rows = limits["reports"]
    return prose(
        words.LIMITS,
        reports="" if rows is None else f"The `all_reports.csv` of PTB-XL at hand holds {rows:,} rows.\n",
        duplicates=f"The same bytes, whatever their labels say, and measured all the same: {same}."
        if same
        else "No file of val has the very bytes of one that was trained or calibrated on.",
    )
