"""What running a model means here, whoever runs it: this process, or a server over the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

IMAGE_INPUT = "input"
"""The one input of an image or ECG encoder: (N, C, H, W) or (N, 12, T) float32."""
TOKEN_INPUT, MASK_INPUT = "input_ids", "attention_mask"
"""The inputs of the text encoder: (N, L) int64."""
EMBEDDING, EVIDENCE, SIGNATURE = "embedding", "evidence", "signature"
"""Outputs: (N, D) unit-norm; (N, h, w, D) and (N, K) where the encoder gives them."""


class Runner(Protocol):
    """One model, loaded. Safe to call from several threads."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name for one batch. Raises InferenceError."""
        ...


class LocatedRunner(Runner, Protocol):
    """A runner that tells where it runs."""

    @property
    def providers(self) -> tuple[str, ...]:
        """Execution providers in use, or the address of a server."""
        ...


def as_floats(array: Array) -> NDArray[np.float32]:
    """As float32, without a copy where it is already; half-precision servers answer float16."""
    return np.ascontiguousarray(array, dtype=np.float32)
