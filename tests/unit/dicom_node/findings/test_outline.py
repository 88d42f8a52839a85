import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dicom_node.findings.evidence import strongest_region
from dicom_node.findings.outline import outer_outline


def area(polygon: list[tuple[int, int]]) -> float:
    """Shoelace; positive when clockwise on a screen (row down)."""
    closed = [*polygon, polygon[0]]
    return sum(a[0] * b[1] - b[0] * a[1] for a, b in itertools.pairwise(closed)) / 2


def test_one_cell() -> None:
    assert outer_outline(np.array([[True]])) == [(0, 0), (1, 0), (1, 1), (0, 1)]


def test_straight_corners_are_left_out() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:4] = True
    assert outer_outline(mask) == [(1, 1), (4, 1), (4, 3), (1, 3)]


def test_an_l_shape() -> None:
    mask = np.array([[1, 0], [1, 1]], dtype=bool)
    assert outer_outline(mask) == [(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (0, 2)]


def test_cells_that_touch_at_a_corner_do_not_cross() -> None:
    mask = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=bool)
    outline = outer_outline(mask)
    assert area(outline) == mask.sum()
    assert outline.count((2, 2)) == 2


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 0.9), st.integers(1, 9), st.integers(1, 9))
def test_the_outline_encloses_exactly_the_region(seed: int, density: float, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    parts = np.where(rng.random((h, w)) < density, 1.0, -1.0)
    region = strongest_region(parts, np.ones((h, w), dtype=bool))
    if region is None:
        assert (parts < 0).all()
        return
    outline = outer_outline(region.mask)
    assert area(outline) == region.mask.sum()
    np.testing.assert_array_equal(fill(outline, h, w), region.mask)


def fill(polygon: list[tuple[int, int]], h: int, w: int) -> NDArray[np.bool_]:
    """Even-odd rule at every cell's centre: the plain form the border walk is held against."""
    closed = [*polygon, polygon[0]]
    mask = np.zeros((h, w), dtype=bool)
    for row in range(h):
        for column in range(w):
            crossings = 0
            for (x0, y0), (x1, y1) in itertools.pairwise(closed):
                if x0 == x1 and x0 <= column and min(y0, y1) <= row < max(y0, y1):
                    crossings += 1
            mask[row, column] = crossings % 2 == 1
    return mask


def test_an_empty_mask_has_no_outline() -> None:
    with pytest.raises(ValueError, match="empty"):
        outer_outline(np.zeros((2, 2), dtype=bool))
