"""Where the patient is on an axial CT slice: without table, clothes, arms that lie apart, and the air around.

Field of view, table and noise of the air differ from scanner to scanner and say nothing of the patient, so
a model should not see them. Everything is done on a small grid: the answer is a place, no measurement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.errors import UnreadableObjectError

Bools = NDArray[np.bool_]

GRID = 128
"""Cells along the longer side, 3 to 4 mm each on a chest CT: a table's shell is one or two of them wide."""
_OPENING = 2
"""Cells worn off and put back: what is not twice as thick (a table, a blanket, a tube) is no body."""


def crop_to_torso(
    values: NDArray[np.float32], threshold: float, fill: float
) -> tuple[NDArray[np.float32], tuple[int, int, int, int]]:
    """(H, W) to the part that holds the torso, with `fill` beside it, and where that part lies: left, top,
    right, bottom in pixels. Raises UnreadableObjectError (`no-body`) where there is none."""
    grid = torso(values, threshold)
    if grid is None:
        raise UnreadableObjectError(
            "no-body", f"Nothing on the slice is as large as a body and above {threshold:g}."
        )
    rows = np.arange(values.shape[0]) * grid.shape[0] // values.shape[0]  # of the grid, for each pixel
    columns = np.arange(values.shape[1]) * grid.shape[1] // values.shape[1]
    down = np.flatnonzero(grid[rows].sum(axis=1))
    across = np.flatnonzero(grid[:, columns].sum(axis=0))
    top, bottom, left, right = int(down[0]), int(down[-1]) + 1, int(across[0]), int(across[-1]) + 1
    inside = grid[np.ix_(rows[top:bottom], columns[left:right])]
    part = np.where(inside, values[top:bottom, left:right], np.float32(fill))
    return part, (left, top, right, bottom)


def torso(values: NDArray[np.float32], threshold: float) -> Bools | None:
    """(H, W) HU to a mask of a coarse grid (at most GRID x GRID) over the same field: True where the thickest
    body is, its lungs and bowel included. None where nothing thicker than a table is denser than the
    threshold."""
    dense = Image.fromarray((values > threshold).astype(np.uint8) * np.uint8(255))
    scale = GRID / max(dense.size)
    size = (max(1, round(dense.width * scale)), max(1, round(dense.height * scale)))
    solid = filled(np.asarray(dense.resize(size, Image.Resampling.BOX)) > 127)
    for _ in range(_OPENING):
        solid = _worn(solid)
    core = _deepest(solid)
    if core is None:
        return None
    body = _grown(core, solid)
    for _ in range(_OPENING + 1):  # one more: a cell of which less than half is skin belongs to the body, too
        body = _widened(body)
    return body


def _worn(mask: Bools) -> Bools:
    """Without the cells that touch, by an edge, what is not of the mask or beyond the image."""
    padded = np.pad(mask, 1)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _widened(mask: Bools) -> Bools:
    """With the cells that touch it by an edge."""
    padded = np.pad(mask, 1)
    return mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def _along_rows(seed: Bools, inside: Bools) -> Bools:
    """All runs of `inside` along rows that hold a part of the seed."""
    starts = inside.copy()
    starts[:, 1:] &= ~inside[:, :-1]
    run = np.cumsum(starts).reshape(inside.shape)  # number of the run; outside a run that of the last one
    hit = np.zeros(int(run.flat[-1]) + 1, dtype=np.bool_)
    hit[run[seed & inside]] = True
    return inside & hit[run]


def _grown(seed: Bools, inside: Bools) -> Bools:
    """All of `inside` that hangs together, by edges, with the seed."""
    current = seed & inside
    while True:
        wider = _along_rows(_along_rows(current, inside).T, inside.T).T
        if np.array_equal(wider, current):
            return wider
        current = wider


def filled(mask: Bools) -> Bools:
    """With every hole that has no way to the rim."""
    empty = np.pad(~mask, 1, constant_values=True)
    rim = np.ones_like(empty)
    rim[1:-1, 1:-1] = False
    return ~_grown(rim, empty)[1:-1, 1:-1]


def _deepest(mask: Bools) -> Bools | None:
    """What is left last when the mask is worn off from its rim: the middle of its thickest piece."""
    left = None
    while mask.any():
        left, mask = mask, _worn(mask)
    return left
