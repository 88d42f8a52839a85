"""Where a slide shows tissue, found on its lowest level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import UnsupportedObjectError
from dicom_node.pixels.ground import evenly
from dicom_node.pixels.levels import Level, read_level

MIN_COLOUR = 20
"""Difference between the brightest and the darkest channel (of 255) of stained tissue. Glass, white and black
filling are grey: their channels differ by less than 10."""
MAX_OVERVIEW = 1 << 24
"""Pixels of a level that is decoded whole."""
MAX_PROBES = 256
"""Frames that are looked at where every level is larger than that."""
CELL = 16
"""Pixels of the overview per cell of the tissue map."""


@dataclass(frozen=True, slots=True, eq=False)
class TissueMap:
    """Where tissue is, told so that it holds for every level of the slide."""

    parts: NDArray[np.float32]
    """(h, w), the part of each cell that is tissue."""
    cell: tuple[float, float]
    """Height and width of a cell as a part of the whole matrix."""
    level: Level
    """The level that was looked at."""


def find_tissue(levels: Sequence[Level]) -> TissueMap:
    """Look for tissue on the level with the fewest pixels.

    Where no level is small enough to be decoded whole, evenly spread frames of the smallest are probed, a
    cell is a frame, and frames that were not looked at count as empty.
    """
    smallest = min(levels, key=lambda level: level.rows * level.columns)
    down, across = smallest.grid
    height, width = smallest.tile
    whole = down * across * height * width <= MAX_OVERVIEW
    held = list(smallest.tiles())
    if not whole:
        held = [held[index] for index in evenly(len(held), MAX_PROBES)]
    cell = (CELL, CELL) if whole else (height, width)
    matrix = np.zeros((-(-smallest.rows // cell[0]), -(-smallest.columns // cell[1])), dtype=np.float32)
    mask = np.zeros((smallest.rows + height, smallest.columns + width), dtype=bool) if whole else None
    for tile, pixels in zip(held, read_level(smallest, [tile.frame for tile in held]), strict=True):
        tissue = is_tissue(pixels)
        if mask is None:
            matrix[tile.top // height, tile.left // width] = tissue.mean()
        else:
            mask[tile.top : tile.top + height, tile.left : tile.left + width] = tissue
    if mask is not None:
        matrix[:] = _cells(mask[: smallest.rows, : smallest.columns])
    return TissueMap(matrix, (cell[0] / smallest.rows, cell[1] / smallest.columns), smallest)


def is_tissue(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(H, W) of (H, W, 3) uint8 RGB: whether a pixel is coloured as stained tissue is."""
    if frame.ndim != 3:
        raise UnsupportedObjectError("not-colour", "Its tiles are not RGB.")
    red, green, blue = (frame[:, :, channel].astype(np.int16) for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    lowest = np.minimum(np.minimum(red, green), blue)
    return np.asarray(highest - lowest >= MIN_COLOUR, dtype=np.bool_)


def _cells(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean over CELL x CELL pixels; the last cells, where cut, over what there is."""
    rows, columns = mask.shape
    down, across = -(-rows // CELL), -(-columns // CELL)
    filled = np.zeros((down * CELL, across * CELL), dtype=np.float32)
    filled[:rows, :columns] = mask
    sums = filled.reshape(down, CELL, across, CELL).sum(axis=(1, 3))
    heights = np.minimum(CELL, rows - CELL * np.arange(down))
    widths = np.minimum(CELL, columns - CELL * np.arange(across))
    return np.asarray(sums / np.outer(heights, widths), dtype=np.float32)
