"""The named operations of a bundle's preprocessing: data in the bundle, code here.

A `Patch` is an image or a waveform on its way to an encoder. Every operation takes a Patch and returns
one, and keeps `box` (or `span`) true, so that evidence can be drawn back onto the source.

`compile_operations` checks names and parameters once, when a bundle is loaded; applying is then only arithmetic.
"""
# Placeholder interface; the operations are filled in below this line.

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Operation
from dicom_node.records import Box


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """`values` is (H, W) or (H, W, 3) float32 for images, (12, T) float32 mV for ECG; the last operation
    of an image makes it (C, H, W)."""

    values: NDArray[np.float32]
    box: Box | None = None
    rate: float | None = None
    """Samples per second, for waveforms."""
    span: tuple[float, float] | None = None


Step = Callable[[Patch], Patch]


def compile_operations(operations: Sequence[Operation]) -> Step:
    """One function that applies all operations in order.

    Raises BundleFormatError for an unknown operation or a wrong parameter.
    """
    raise NotImplementedError
