"""Evidence outlines as SCOORD graphic data (PS3.3 C.18.6): inside the image, closed, never degenerate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

Point = tuple[float, float]


def image_size(header: Dataset) -> tuple[int, int] | None:
    """(columns, rows) in which coordinates are told: of the total pixel matrix of a tiled image (PS3.3
    C.8.12.4), else of the frame. None for what is no image."""
    for width, height in (("TotalPixelMatrixColumns", "TotalPixelMatrixRows"), ("Columns", "Rows")):
        if header.get(width) and header.get(height):
            return int(header[width].value), int(header[height].value)
    return None


def is_tiled(header: Dataset) -> bool:
    """Whether frames are tiles of one total pixel matrix, as in a whole slide image."""
    return bool(header.get("TotalPixelMatrixColumns") and header.get("TotalPixelMatrixRows"))


def closed_polygon(outline: Sequence[Point], size: tuple[int, int] | None) -> NDArray[np.float64] | None:
    """(V + 1, 2) float64, (column, row) in pixels: the outline as a POLYLINE that ends where it began.

    SCOORD has no POLYGON; a POLYLINE that closes itself encloses a region (PS3.3 C.18.6.1.2). An outline may
    reach beyond the image where the encoder's input was padded: it is clipped to `size`, (columns, rows),
    because coordinates outside the image are not allowed. Rounded to 1/100 pixel. None when nothing that has
    an area is left: a region is then left out, not invented.
    """
    points = [(float(x), float(y)) for x, y in outline]
    if size is not None:
        points = _clipped(points, size)
    kept: list[Point] = []
    for x, y in points:
        point = (round(x, 2), round(y, 2))
        if not kept or point != kept[-1]:
            kept.append(point)
    while len(kept) > 1 and kept[-1] == kept[0]:
        kept.pop()
    if len(kept) < 3 or _area(kept) < 1.0:
        return None
    return np.asarray([*kept, kept[0]], dtype=np.float64)


def _clipped(points: list[Point], size: tuple[int, int]) -> list[Point]:
    """The part of a polygon inside the image (Sutherland and Hodgman 1974, one edge after the other)."""
    columns, rows = size
    for axis, limit, sign in (
        (0, 0.0, 1.0),
        (0, float(columns), -1.0),
        (1, 0.0, 1.0),
        (1, float(rows), -1.0),
    ):
        result: list[Point] = []
        for index, here in enumerate(points):
            before = points[index - 1]
            inside_here = sign * (here[axis] - limit) >= 0
            inside_before = sign * (before[axis] - limit) >= 0
            if inside_here != inside_before:
                part = (limit - before[axis]) / (here[axis] - before[axis])
                crossing = [before[k] + part * (here[k] - before[k]) for k in (0, 1)]
                crossing[axis] = limit
                result.append((crossing[0], crossing[1]))
            if inside_here:
                result.append(here)
        points = result
    return points


def _area(points: list[Point]) -> float:
    """Square pixels enclosed (shoelace)."""
    total = 0.0
    for index, (x, y) in enumerate(points):
        before_x, before_y = points[index - 1]
        total += before_x * y - x * before_y
    return abs(total) / 2
