"""Whether a view is of the kind its encoder was made for (Lee et al. 2018, arXiv 1807.03888: Mahalanobis
distance to the training embeddings; in principal components plus residual, see `catalogue.ScopeEntry`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import ScopeEntry


@dataclass(frozen=True, slots=True, eq=False)
class ScopeStatistics:
    """A ScopeEntry as arrays: D dimensions, K components."""

    mean: NDArray[np.float64]
    """(D,)"""
    components: NDArray[np.float64]
    """(K, D), orthonormal rows."""
    variances: NDArray[np.float64]
    """(K,)"""
    residual_variance: float
    threshold: float

    @classmethod
    def of(cls, entry: ScopeEntry) -> ScopeStatistics:
        """From the bundle's form."""
        return cls(
            mean=np.array(entry.mean, dtype=np.float64),
            components=np.array(entry.components, dtype=np.float64).reshape(-1, len(entry.mean)),
            variances=np.array(entry.variances, dtype=np.float64),
            residual_variance=entry.residual_variance,
            threshold=entry.threshold,
        )


def sample_scores(embeddings: NDArray[np.float32], statistics: ScopeStatistics) -> NDArray[np.float64]:
    """(N,) distances of (N, D) embeddings from the training data; larger is stranger."""
    offset = embeddings.astype(np.float64) - statistics.mean
    along = offset @ statistics.components.T
    residual = offset - along @ statistics.components
    squared = (along**2 / statistics.variances).sum(axis=1)
    return np.asarray(np.sqrt(squared + (residual**2).sum(axis=1) / statistics.residual_variance))


def view_score(embeddings: NDArray[np.float32], statistics: ScopeStatistics) -> float:
    """The median over a view's samples: a blank slice at the end of a series, or a tile of empty glass,
    must not put the whole view out of scope, nor one good slice bring it in."""
    return float(np.median(sample_scores(embeddings, statistics)))
