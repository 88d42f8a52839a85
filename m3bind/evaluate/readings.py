"""A target under other readings of the same labels: its figure if the doubtful counted otherwise.

Which examples are a finding, and which are left out as not known, is decided by the catalogue. Where few
positives carry a figure that decision weighs, so it is told beside the other ones (`readings` in
data/targets.toml).
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.data.catalogue import LabelRule
from m3bind.data.examples import Example
from m3bind.data.sources import DATASETS, data_root

Ints = NDArray[np.int64]
Columns = Mapping[str, frozenset[str]]
"""Tokens of one example by column."""
ColumnsOf = Callable[[str], Mapping[Path, Columns]]
"""A data set's columns, by the path of the example."""


def parse_reading(raw: Mapping[str, Any]) -> LabelRule:
    """One reading; keys as of `labels` in findings/*.toml."""
    otherwise = raw.get("otherwise", "unknown")
    return LabelRule(
        column=raw["column"],
        present=frozenset(raw["present"]),
        unknown=frozenset(raw.get("unknown", ())),
        absent=frozenset(raw.get("absent", ())),
        otherwise=None if otherwise == "unknown" else int(otherwise),
    )


def columns_of(dataset: str) -> Mapping[Path, Columns]:
    """From the label files: what the catalogue reads, and of PTB-XL `scp_codes`, its codes as they stand in
    labels.csv, without the rhythm that only a report tells and whatever their likelihood."""
    root = data_root()
    found = {row.path: dict(row.columns) for row in DATASETS[dataset](root)}
    if dataset == "ptbxl":
        with (root / "ecg/ptbxl/labels.csv").open(newline="", encoding="utf-8") as file:
            stated = {
                line["record"]: frozenset(ast.literal_eval(line["scp_codes"]))
                for line in csv.DictReader(file)
            }
        for path, columns in found.items():
            columns["scp_codes"] = stated[path.stem]
    return found


def labels_by(
    rule: LabelRule, found: Sequence[Example], datasets: frozenset[str], columns: ColumnsOf
) -> Ints:
    """(N,) of 1, 0 and -1 (not known, or of another data set)."""
    known = {name: columns(name) for name in sorted({e.dataset for e in found} & datasets)}
    told = [rule.apply(known[e.dataset][e.path][rule.column]) if e.dataset in known else None for e in found]
    return np.asarray([-1 if t is None else t for t in told], dtype=np.int64)
