"""Borders that were burned into a radiograph: frames of a collimator, edges of a film, bars with text.

No attribute tells of them, so they are told by their form: along a side of the image, rows of one value from
end to end (in a bar, letters among them), that end at once, along a straight line. Anatomy does neither:
what lies at the rim of a radiograph is uneven, and its outlines are curved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FLAT = 0.03
"""Part of the range of the image's values: what differs by less from a border's value is of the border."""
SHARP = 0.1
"""Likewise: what differs by more is not."""
SPECKS = 0.01
"""Part of a row that may differ in a border: specks, and the noise of a lossy codec."""
LETTERS = 0.5
"""Part of a row that letters may take in a bar."""
STRAIGHT = 0.6
"""Part of the row behind a border, of what is not border of another side, that must differ sharply."""
DEEPEST = 0.4
"""Part of the rows or columns; a border does not reach farther in."""
LEAST_LEFT = 1 / 3
"""Part of the rows and of the columns that is left; otherwise nothing is taken for a border."""
MOST_RINGS = 3
"""A film may show its edge, a frame, and a bar within."""
LEAST_SIDE = 32
"""Pixels; what is smaller shows no border."""


@dataclass(frozen=True, slots=True)
class Inner:
    """What is left of an image: rows from `top` to before `bottom`, columns likewise."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.bottom - self.top, self.right - self.left


def inside_borders(stored: NDArray[Any], seen: NDArray[np.bool_] | None = None) -> Inner:
    """The part of (H, W) stored values that lies within burned-in borders; all of it where there are none.

    Of `seen` (H, W), where it is given, only the rectangle around what is true is looked at.
    """
    whole = inner = Inner(0, stored.shape[0], 0, stored.shape[1]) if seen is None else _around(seen)
    for _ in range(MOST_RINGS):
        part = stored[inner.top : inner.bottom, inner.left : inner.right].astype(np.float32)
        if min(part.shape) < LEAST_SIDE:
            return whole
        low, high = (float(v) for v in np.percentile(part[::4, ::4], (1, 99)))
        if high <= low:
            break
        depths = [_depth(side, high - low) for side in (part, part[::-1], part.T, part.T[::-1])]
        if not any(depths):
            break
        top, bottom, left, right = depths
        inner = Inner(inner.top + top, inner.bottom - bottom, inner.left + left, inner.right - right)
    if any(few < LEAST_LEFT * all_ for few, all_ in zip(inner.size, whole.size, strict=True)):
        return whole
    return inner


def outside_of(inner: Inner, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(H, W): what of an image of that shape lies in its borders."""
    mask = np.ones(shape, dtype=np.bool_)
    mask[inner.top : inner.bottom, inner.left : inner.right] = False
    return mask


def _around(seen: NDArray[np.bool_]) -> Inner:
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size == 0:
        return Inner(0, seen.shape[0], 0, seen.shape[1])
    return Inner(int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)


def _depth(values: Floats, scale: float) -> int:
    """How many of the first rows are a border; 0 where none are."""
    limit = int(DEEPEST * len(values))
    usual = np.median(values[0])
    if (np.abs(values[0] - usual) / np.float32(scale) > FLAT).mean() > LETTERS:
        return 0  # as most images: the other rows need not be looked at
    away = np.abs(values[: limit + 2] - usual) / np.float32(scale)
    other = away > FLAT
    inner = np.abs(values - usual).max(axis=0) > SHARP * scale
    if not inner.any():
        return 0
    share = other.mean(axis=1)
    sharp = (away[:, inner] > SHARP).mean(axis=1) >= STRAIGHT
    ends = int(np.argmax(share > LETTERS)) if (share > LETTERS).any() else len(share)
    for depth in range(min(ends, limit), 0, -1):
        if share[depth - 1] <= SPECKS and sharp[depth + 1]:
            return depth if sharp[depth] else depth + 1  # a row between, blended by a filter, belongs to it
    return 0
