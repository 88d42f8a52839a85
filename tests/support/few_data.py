"""The training data with few rows: what a test of whole stages needs, not what training needs."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from m3bind.data.sources import data_root, share
from m3bind.data.statements import report_statements

KEPT = 0.25
"""Of the rows, chosen by a hash of their first column."""


@contextmanager
def few_data(folder: Path, kept: float = KEPT) -> Iterator[None]:
    """M3BIND_DATA names `folder` inside the block: shorter label files, and links to everything else."""
    for labels in data_root().glob("*/*/labels.csv"):
        target = folder / labels.parent.relative_to(data_root())
        target.mkdir(parents=True)
        for beside in labels.parent.iterdir():
            if beside != labels:
                (target / beside.name).symlink_to(beside.resolve())
        with labels.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        with (target / labels.name).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([head, *(row for row in rows if share(row[0]) < kept)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M3BIND_DATA", str(folder))
        report_statements.cache_clear()  # these are of the whole data
        try:
            yield
        finally:
            report_statements.cache_clear()
