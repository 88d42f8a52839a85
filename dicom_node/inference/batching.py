"""Cuts many samples into batches that fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

MAX_BATCH = 16
"""Activations of EfficientNet-Lite0 at 224 px take some 20 MB a sample; beyond 16 the CPU gains nothing."""


def batches(
    samples: Sequence[NDArray[np.float32]], max_batch: int = MAX_BATCH
) -> Iterator[NDArray[np.float32]]:
    """Samples of one shape, stacked along a new first axis, at most `max_batch` at a time, in order."""
    if max_batch < 1:
        raise ValueError(f"max_batch must be at least 1, not {max_batch}.")
    for start in range(0, len(samples), max_batch):
        yield np.stack(samples[start : start + max_batch])
