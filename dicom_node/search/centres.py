"""Where the vectors of a modality lie, and how far they spread: what makes margins of two modalities
comparable, and an image of one comparable with an image of another."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import numpy as np

from dicom_node.search.ports import Floats, Index
from dicom_node.store.search_facts import Level

KEPT_SECONDS = 600.0
"""An archive's centre moves slowly."""
SAMPLE = 2000
"""Rows of a modality: the error of their mean is 1/45 of their spread."""
USUAL_SPREAD = 0.05
"""Standard deviation of the cosine to a finding's direction; `docs/SEARCH.md` tells what was measured."""
USUAL_WEIGHT = 8.0
"""How many rows the usual spread counts for beside those that there are."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Cosines of one modality to one direction."""

    mean: float
    spread: float
    """Standard deviation, above 0."""

    def likeness(self, cosine: float) -> float:
        """How many standard deviations above the mean."""
        return (cosine - self.mean) / self.spread


@dataclass(frozen=True, slots=True, eq=False)
class Centre:
    """A modality's vectors in this archive."""

    rows: Floats
    """(N, D) unit norm; N may be 0."""

    @property
    def mean(self) -> Floats:
        """(D,). There must be rows."""
        return np.asarray(self.rows.mean(axis=0), dtype=np.float32)

    def along(self, direction: Floats) -> Scale:
        """How the cosines of its rows to `direction` (D,) are spread."""
        if not len(self.rows):
            return Scale(0.0, USUAL_SPREAD)
        usual = (self.rows @ direction).astype(np.float64)
        squares = float(((usual - usual.mean()) ** 2).sum()) + USUAL_WEIGHT * USUAL_SPREAD**2
        return Scale(float(usual.mean()), float(np.sqrt(squares / (len(usual) + USUAL_WEIGHT))))


class Centres:
    """Centres by modality for one bundle, taken from the index again from time to time."""

    def __init__(self, index: Index, bundle: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._index = index
        self._bundle = bundle
        self._clock = clock
        self._kept: dict[str, tuple[float, Centre]] = {}
        self._lock = Lock()

    def of(self, modality: str) -> Centre:
        """Raises DatabaseUnavailableError."""
        with self._lock:
            kept = self._kept.get(modality)
        if kept is not None and self._clock() < kept[0] + KEPT_SECONDS:
            return kept[1]
        centre = Centre(self._index.sample(self._bundle, Level.SERIES, modality, SAMPLE))
        with self._lock:
            self._kept[modality] = (self._clock(), centre)
        return centre
