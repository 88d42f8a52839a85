"""What a question needs of others; `node.py` wires it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.records import BundleIdentity
from dicom_node.store.search_facts import BundleCoverage, Candidate, Filters, Level

Floats = NDArray[np.float32]


class Index(Protocol):
    """The vectors of the archive; `store.search_index.SearchIndex` is one."""

    def nearest(self, vector: Floats, filters: Filters, limit: int = 10) -> Sequence[Candidate]:
        """Rows by their cosine to `vector` (D,), best first."""

    def newest(self, filters: Filters, limit: int = 10) -> Sequence[Candidate]:
        """Rows by study date, newest first."""

    def by_finding(
        self, finding_id: str, filters: Filters, limit: int = 10, *, absent: bool = False
    ) -> Sequence[Candidate]:
        """Rows by the probability of a finding, highest (`absent`: lowest) first."""

    def vectors_of(
        self, bundle: str, level: Level, *, study_uid: str, series_uid: str | None = None
    ) -> Floats:
        """(N, D) rows of a study, or of one series of it."""

    def sample(self, bundle: str, level: Level, modality: str, most: int = 2000) -> Floats:
        """(N, D) rows in scope of one modality, drawn at random, the same ones each time."""

    def coverage(self, current: BundleIdentity | None = None) -> Sequence[BundleCoverage]:
        """Which bundles answer for how many studies."""


@dataclass(frozen=True, slots=True, eq=False)
class Speaker:
    """The bundle that answers."""

    identity: BundleIdentity
    modalities: tuple[str, ...]
    """That it has encoders for."""
    entries: tuple[FindingEntry, ...]
    """Its whole catalogue."""
    scored: frozenset[str]
    """Ids of the findings that the node scores; of the others only the prompts are used."""
    embed: Callable[[Sequence[str]], Floats]
    """Texts to (N, D) unit-norm. Raises InferenceError."""
