"""Which pixels of a radiograph show nothing of the patient: padding, shutter and collimator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import Dataset

from dicom_node.pixels.ground import number, numbers, texts

Mask = NDArray[np.bool_]
Places = NDArray[np.int64]
Point = tuple[float, float]
FARTHEST = 1e9
"""Pixels; what is said to lie farther away is taken to lie there."""


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
    rows, columns = (_places(few, whole) for few, whole in zip(shape, size, strict=True))
    for name in dict.fromkeys(shape.strip().upper() for shape in texts(header, f"{prefix}Shape")):
        draw = _SHAPES.get(name)
        picture = None if draw is None else draw(header, prefix, rows, columns, size)
        if picture is not None:
            open_parts &= picture
    return open_parts


def _places(few: int, whole: int) -> Places:
    """The rows or columns (0-based) of the whole frame that lie at the middles of those of a smaller one."""
    return ((np.arange(few) + 0.5) * whole / few).astype(np.int64)


def _rectangle(
    header: Dataset, prefix: str, rows: Places, columns: Places, _size: tuple[int, int]
) -> Mask | None:
    edges = ("LeftVerticalEdge", "UpperHorizontalEdge", "RightVerticalEdge", "LowerHorizontalEdge")
    left, top, right, bottom = (number(header, f"{prefix}{edge}") for edge in edges)
    if left is None or top is None or right is None or bottom is None or right < left or bottom < top:
        return None
    down = (rows >= top - 1) & (rows <= bottom - 1)
    across = (columns >= left - 1) & (columns <= right - 1)
    return np.asarray(down[:, np.newaxis] & across)


def _circle(
    header: Dataset, prefix: str, rows: Places, columns: Places, _size: tuple[int, int]
) -> Mask | None:
    """Row by row, how far the circle reaches: no larger for a radius of kilometres than for one of pixels."""
    centre = numbers(header, _NAMES[prefix]["centre"])
    radius = number(header, _NAMES[prefix]["radius"])
    if centre is None or len(centre) != 2 or not radius or radius < 0:
        return None
    row, column, radius = (min(max(v, -FARTHEST), FARTHEST) for v in (centre[0] - 1, centre[1] - 1, radius))
    reach = radius**2 - (rows - row) ** 2
    half = np.where(reach >= 0, np.sqrt(np.maximum(reach, 0)), -1.0)
    return np.asarray(np.abs(columns - column) <= half[:, np.newaxis])


def _polygon(
    header: Dataset, prefix: str, rows: Places, columns: Places, size: tuple[int, int]
) -> Mask | None:
    vertices = numbers(header, _NAMES[prefix]["vertices"])
    if vertices is None or len(vertices) < 6 or len(vertices) % 2:
        return None
    points = [(vertices[i + 1] - 1, vertices[i] - 1) for i in range(0, len(vertices), 2)]
    picture = Image.new("L", (size[1], size[0]), 0)
    clipped = _clipped(points, size)
    if len(clipped) >= 3:
        ImageDraw.Draw(picture).polygon(clipped, fill=1)
    return np.asarray(picture, dtype=np.bool_)[np.ix_(rows, columns)]


def _clipped(points: Sequence[Point], size: tuple[int, int]) -> list[Point]:
    """A polygon cut to the frame and one pixel around it (Sutherland and Hodgman, 1974)."""
    kept = [(min(max(x, -FARTHEST), FARTHEST), min(max(y, -FARTHEST), FARTHEST)) for x, y in points]
    for axis, edge, sign in ((0, -2.0, 1), (0, size[1] + 1.0, -1), (1, -2.0, 1), (1, size[0] + 1.0, -1)):
        corners, kept = kept, []
        for one, other in zip(corners, corners[1:] + corners[:1], strict=True):
            inside = [sign * (point[axis] - edge) >= 0 for point in (one, other)]
            if inside[0]:
                kept.append(one)
            if inside[0] != inside[1]:
                part = (edge - one[axis]) / (other[axis] - one[axis])
                kept.append((one[0] + part * (other[0] - one[0]), one[1] + part * (other[1] - one[1])))
    return kept


_Draw = Callable[[Dataset, str, Places, Places, tuple[int, int]], Mask | None]
_SHAPES: Mapping[str, _Draw] = {
    "RECTANGULAR": _rectangle,
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}
