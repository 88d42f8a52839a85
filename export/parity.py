"""How far a graph is from what it was made of, on real inputs, and whether fewer bits cost too much."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InferenceError

Floats = NDArray[np.floating]

LARGEST_DIFFERENCE = 1e-4
"""Of an embedding in single precision from torch's."""
MOST_LOST = 0.01
"""Of the mean-centred cosine and of the recall, by storing weights in fewer bits."""
NEIGHBOURS = 10


@dataclass(frozen=True, slots=True)
class Kept:
    """What is left of single precision when weights are stored in fewer bits."""

    precision: str
    centred_cosine: float
    """Mean over inputs, after the mean embedding is taken off: raw cosine flatters, as embeddings share a
    large mean."""
    lowest_centred_cosine: float
    recall: float
    """Part of the inputs whose nearest neighbour among the others, in single precision, is among the
    NEIGHBOURS nearest here."""
    overlap: float
    """Part of the NEIGHBOURS nearest in single precision that are among the NEIGHBOURS nearest here; told,
    not judged, as it also counts swaps between the tenth and the eleventh."""

    @property
    def enough(self) -> bool:
        """Whether cosine and recall lose no more than MOST_LOST; false for a nan."""
        return self.centred_cosine >= 1 - MOST_LOST and self.recall >= 1 - MOST_LOST


@dataclass(frozen=True, slots=True)
class Parity:
    """Of one graph."""

    n: int
    difference: float
    """Largest absolute difference of the single precision graph to torch."""
    kept: Kept
    """Of the graph that was sealed."""
    refused: tuple[Kept, ...]
    """What was tried in fewer bits and lost too much."""


def check_single(name: str, torch_answer: Floats, single: Floats) -> float:
    """The largest difference of two (N, D). Raises InferenceError beyond LARGEST_DIFFERENCE."""
    difference = float(np.abs(torch_answer - single).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise InferenceError(f"{name}: the graph differs from torch by {difference:.2e}. Look at graphs.py.")
    return difference


def compare(precision: str, single: Floats, small: Floats) -> Kept:
    """Both (N, D), N > 1."""
    cosines = centred_cosines(single, small)
    recall, overlap = neighbours_kept(single, small)
    return Kept(precision, float(cosines.mean()), float(cosines.min()), recall, overlap)


def centred_cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    """(N,) cosine of each row of `a` to that of `b`, both less the mean row of `a`."""
    mean = a.mean(axis=0, dtype=np.float64)
    x, y = a - mean, b - mean
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(axis=1) / np.maximum(lengths, 1e-12))


def neighbours_kept(a: Floats, b: Floats) -> tuple[float, float]:
    """Recall and overlap (see `Kept`) of the neighbours by product of the rows of `b`, `a` being right."""
    right, tried = _neighbours(a), _neighbours(b)
    found = (right[:, :, None] == tried[:, None, :]).any(axis=2)  # (N, k)
    return float(found[:, 0].mean()), float(found.mean())


def _neighbours(rows: Floats) -> NDArray[np.intp]:
    """(N, k) of each of N rows the nearest others, nearest first."""
    products = rows.astype(np.float64) @ rows.astype(np.float64).T
    np.fill_diagonal(products, -np.inf)
    return np.argsort(-products, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
