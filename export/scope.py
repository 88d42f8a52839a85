"""Training embeddings to a ScopeEntry: what an encoder was made for, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import ScopeEntry
from dicom_node.findings.scope import ScopeStatistics, sample_scores

EXPLAINED = 0.95
"""Part of the variance that the kept components carry; the rest is pooled into one residual variance."""
MOST_COMPONENTS = 48
KEPT = 0.95
"""Part of the calibration split that must be in scope."""


def fit_scope(train: NDArray[np.float32], calib: NDArray[np.float32]) -> ScopeEntry:
    """Statistics of `train` (N, D), N > 2, and the threshold that keeps KEPT of `calib` (M, D) in scope."""
    points = train.astype(np.float64)
    mean = points.mean(axis=0)
    _, singular, rows = np.linalg.svd(points - mean, full_matrices=False)
    variances = singular**2 / (len(points) - 1)
    # Beyond a fifth of the sample size the small variances are mostly chance.
    enough = int(np.searchsorted(np.cumsum(variances) / variances.sum(), EXPLAINED)) + 1
    kept = max(1, min(enough, MOST_COMPONENTS, len(points) // 5, points.shape[1] - 1))
    rest = points.shape[1] - kept
    draft = ScopeEntry(
        mean=_rounded(mean),
        components=tuple(_rounded(row) for row in rows[:kept]),
        variances=tuple(float(f"{v:.6g}") for v in variances[:kept]),
        residual_variance=float(f"{max(variances[kept:].sum() / rest, 1e-12):.6g}"),
        threshold=1.0,
    )
    scores = sample_scores(calib, ScopeStatistics.of(draft))
    return draft.model_copy(update={"threshold": float(f"{np.quantile(scores, KEPT):.6g}")})


def _rounded(row: NDArray[np.float64]) -> tuple[float, ...]:
    """Seven digits: single precision has no more, and the file stays small."""
    return tuple(float(f"{x:.7g}") for x in row)
