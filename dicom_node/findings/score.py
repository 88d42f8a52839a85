"""Vectors to margins: how much nearer a sample lies to the prompts for a finding than to those against."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.prompts import Anchors


def sample_margins(embeddings: NDArray[np.float32], anchors: Anchors) -> NDArray[np.float32]:
    """(N, F): cosine to the affirmed anchor less cosine to the negated; `embeddings` (N, D), unit norm."""
    return np.asarray(embeddings @ anchors.directions.T, dtype=np.float32)


def pool_margins(margins: NDArray[np.float32], pooling: Pooling) -> NDArray[np.float32]:
    """(N, F) margins of the samples of one view to (F,) margins of the view."""
    kept = -np.sort(-margins, axis=0)[: _kept(len(margins), pooling)]
    return np.asarray(kept.mean(axis=0), dtype=np.float32)


def pooled_samples(margins: NDArray[np.float32], pooling: Pooling) -> NDArray[np.intp]:
    """Indices of the samples that made one finding's pooled margin, strongest first; `margins` (N,)."""
    return np.argsort(-margins, kind="stable")[: _kept(len(margins), pooling)]


def _kept(n: int, pooling: Pooling) -> int:
    if pooling.method == "mean":
        return n
    return max(1, math.ceil(n * pooling.fraction))


def mean_embedding(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(D,) unit-norm mean of (N, D): the vector that stands for a whole view in search."""
    mean = embeddings.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)
