"""The border of a region of cells as one polygon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Point = tuple[int, int]
"""(column, row) of a cell corner; (0, 0) is the top left corner of the top left cell."""


def outer_outline(mask: NDArray[np.bool_]) -> list[Point]:
    """Corners of the border of a 4-connected region without holes, clockwise as seen on a screen, the first
    not repeated, none on a straight line between its neighbours. `mask` (h, w); ValueError where it is empty.

    Where two cells of the region touch only at a corner the border turns back to its own cell, so the
    polygon touches itself there but never crosses.
    """
    leaving = _edges(mask)
    start = min(leaving)
    path: list[Point] = [start]
    came = (1, 0)
    here = start
    while True:
        there = _next(leaving[here], here, came)
        came = (there[0] - here[0], there[1] - here[1])
        here = there
        if here == start:
            return _corners(path)
        path.append(here)


def _edges(mask: NDArray[np.bool_]) -> dict[Point, list[Point]]:
    """Unit edges of the border, the region on their right hand, by the corner they leave."""
    padded = np.pad(mask, 1)
    leaving: dict[Point, list[Point]] = {}
    for row, column in np.argwhere(mask).tolist():
        sides = (
            (padded[row, column + 1], (column, row), (column + 1, row)),
            (padded[row + 1, column + 2], (column + 1, row), (column + 1, row + 1)),
            (padded[row + 2, column + 1], (column + 1, row + 1), (column, row + 1)),
            (padded[row + 1, column], (column, row + 1), (column, row)),
        )
        for neighbour, begin, end in sides:
            if not neighbour:
                leaving.setdefault(begin, []).append(end)
    return leaving


def _next(ends: list[Point], here: Point, came: Point) -> Point:
    """The edge to follow: the only one, or at a corner shared by two cells the right turn, which stays with
    the cell that the last edge belongs to."""
    right = (here[0] - came[1], here[1] + came[0])
    return right if right in ends else ends[0]


def _corners(path: list[Point]) -> list[Point]:
    kept = []
    for index, point in enumerate(path):
        before, after = path[index - 1], path[(index + 1) % len(path)]
        straight = (point[0] - before[0]) * (after[1] - point[1]) == (point[1] - before[1]) * (
            after[0] - point[0]
        )
        if not straight:
            kept.append(point)
    return kept
