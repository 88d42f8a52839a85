"""How far a graph is from what it was made of, on real inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InferenceError

Floats = NDArray[np.floating]

LARGEST_DIFFERENCE = 1e-4
"""Of an embedding in single precision from torch's."""
LEAST_CENTRED_COSINE = 0.98
"""Of an embedding in 8 bits, on average. Raw cosine flatters: embeddings share a large mean."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Of one graph."""

    n: int
    difference: float
    """Largest absolute difference of the single precision graph to torch."""
    centred_cosine: float
    """Mean over inputs, 8-bit graph to single precision, after the mean embedding is taken off."""
    lowest_centred_cosine: float


def compare(name: str, torch_answer: Floats, single: Floats, small: Floats) -> Parity:
    """All (N, D), N > 1. Raises InferenceError where a limit of this module is passed."""
    difference = float(np.abs(torch_answer - single).max())
    cosines = centred_cosines(single, small)
    made = Parity(len(single), difference, float(cosines.mean()), float(cosines.min()))
    if not made.difference <= LARGEST_DIFFERENCE:
        raise InferenceError(f"{name}: the graph differs from torch by {difference:.2e}. Look at graphs.py.")
    if not made.centred_cosine >= LEAST_CENTRED_COSINE:
        raise InferenceError(
            f"{name}: 8 bits keep a mean-centred cosine of only {made.centred_cosine:.4f}. "
            "Look at quantise.py."
        )
    return made


def centred_cosines(a: Floats, b: Floats) -> NDArray[np.float64]:
    """(N,) cosine of each row of `a` to that of `b`, both less the mean row of `a`."""
    mean = a.mean(axis=0, dtype=np.float64)
    x, y = a - mean, b - mean
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(axis=1) / np.maximum(lengths, 1e-12))
