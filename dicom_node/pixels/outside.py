"""Which pixels of a radiograph show nothing of the patient: padding, shutter and collimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset

from dicom_node.pixels.ground import number, numbers, texts

Mask = NDArray[np.bool_]


def outside(header: Dataset, stored: NDArray[Any], size: tuple[int, int]) -> Mask:
    """(H, W) bool of a frame as stored, which may be smaller than the `size` (rows, columns) of the header:
    true where Pixel Padding (PS3.3 C.7.5.1.1.2), the display shutter (C.7.6.11) or the collimator (C.8.7.3)
    says that there is no image."""
    mask = padding(header, stored)
    for prefix in _NAMES:
        mask |= ~_opening(header, prefix, mask.shape, size)
    return mask


def padding(header: Dataset, stored: NDArray[Any]) -> Mask:
    """True where the stored value is Pixel Padding Value, or lies between it and its Range Limit."""
    value, limit = number(header, "PixelPaddingValue"), number(header, "PixelPaddingRangeLimit")
    if value is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    low, high = sorted((value, value if limit is None else limit))
    return np.asarray((stored >= low) & (stored <= high))


_NAMES: Mapping[str, Mapping[str, str]] = {
    "Shutter": {
        "centre": "CenterOfCircularShutter",
        "radius": "RadiusOfCircularShutter",
        "vertices": "VerticesOfThePolygonalShutter",
    },
    "Collimator": {
        "centre": "CenterOfCircularCollimator",
        "radius": "RadiusOfCircularCollimator",
        "vertices": "VerticesOfThePolygonalCollimator",
    },
}


def _opening(header: Dataset, prefix: str, shape: tuple[int, ...], size: tuple[int, int]) -> Mask:
    """Where all shapes of a shutter or collimator let the image be seen; all of it where there is none."""
    open_parts = np.ones(shape, dtype=np.bool_)
    for name in texts(header, f"{prefix}Shape"):
        draw = _SHAPES.get(name.strip().upper())
        picture = None if draw is None else draw(header, prefix, size)
        if picture is not None:
            small = picture.resize((shape[1], shape[0]), Image.Resampling.NEAREST)
            open_parts &= np.asarray(small, dtype=np.bool_)
    return open_parts


def _rectangle(header: Dataset, prefix: str, size: tuple[int, int]) -> Image.Image | None:
    edges = ("LeftVerticalEdge", "UpperHorizontalEdge", "RightVerticalEdge", "LowerHorizontalEdge")
    left, top, right, bottom = (number(header, f"{prefix}{edge}") for edge in edges)
    if left is None or top is None or right is None or bottom is None or right < left or bottom < top:
        return None
    picture, pen = _closed(size)
    pen.rectangle((left - 1, top - 1, right - 1, bottom - 1), fill=1)
    return picture


def _circle(header: Dataset, prefix: str, size: tuple[int, int]) -> Image.Image | None:
    centre = numbers(header, _NAMES[prefix]["centre"])
    radius = number(header, _NAMES[prefix]["radius"])
    if centre is None or len(centre) != 2 or not radius or radius < 0:
        return None
    row, column = centre[0] - 1, centre[1] - 1
    picture, pen = _closed(size)
    pen.ellipse((column - radius, row - radius, column + radius, row + radius), fill=1)
    return picture


def _polygon(header: Dataset, prefix: str, size: tuple[int, int]) -> Image.Image | None:
    vertices = numbers(header, _NAMES[prefix]["vertices"])
    if vertices is None or len(vertices) < 6 or len(vertices) % 2:
        return None
    picture, pen = _closed(size)
    pen.polygon([(vertices[i + 1] - 1, vertices[i] - 1) for i in range(0, len(vertices), 2)], fill=1)
    return picture


def _closed(size: tuple[int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("L", (size[1], size[0]), 0)
    return picture, ImageDraw.Draw(picture)


_SHAPES: Mapping[str, Callable[[Dataset, str, tuple[int, int]], Image.Image | None]] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}
