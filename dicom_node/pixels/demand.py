"""How large an image must be read so that an encoder loses nothing: from the bundle's own operations."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.bundle.manifest import Operation
from dicom_node.pixels.parameters import Resize

SPARE = 1.5
"""Pixels read for each that the encoder takes, along a side: what is left to the resizing filter."""
CROPPED = 2.0
"""As much again where the image is cropped first: to no less than half a side, as a rule."""
_PIXELWISE = frozenset({"window", "percentile_stretch", "normalise", "scale", "clip", "grey_to_rgb"})


def least_side(operations: Sequence[Operation]) -> int | None:
    """The shorter side, in pixels, that an image needs before the first of `operations`; None where every
    pixel is needed, since the operations never make it smaller or are not known to allow it."""
    factor = SPARE
    for operation in operations:
        if operation.op == "resize":
            return round(factor * max(Resize.model_validate(operation.parameters).size))
        if operation.op.startswith("crop"):
            factor = SPARE * CROPPED
        elif operation.op not in _PIXELWISE:
            return None
    return None
