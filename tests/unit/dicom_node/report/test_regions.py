"""Outlines become closed polygons inside their image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_node.report.regions import closed_polygon, image_size, is_tiled
from tests.support.sources import cr, ecg, sm

SQUARE = [(10.0, 10.0), (20.0, 10.0), (20.0, 20.0), (10.0, 20.0)]


def test_a_polygon_ends_where_it_began() -> None:
    polygon = closed_polygon(SQUARE, (100, 100))
    assert polygon is not None
    assert polygon.tolist() == [*map(list, SQUARE), list(SQUARE[0])]


def test_an_outline_that_is_closed_already_stays_so() -> None:
    polygon = closed_polygon([*SQUARE, SQUARE[0]], (100, 100))
    assert polygon is not None
    assert polygon.tolist() == [*map(list, SQUARE), list(SQUARE[0])]


def test_padding_is_cut_off() -> None:
    polygon = closed_polygon([(-5.0, -5.0), (8.0, -5.0), (8.0, 50.0), (-5.0, 50.0)], (30, 40))
    assert polygon is not None
    assert polygon.min(axis=0).tolist() == [0, 0]
    assert polygon.max(axis=0).tolist() == [8, 40]


@pytest.mark.parametrize(
    "outline",
    [
        [(200.0, 200.0), (210.0, 200.0), (210.0, 210.0)],
        [(1.0, 1.0), (5.0, 5.0)],
        [(1.0, 1.0), (5.0, 5.0), (9.0, 9.0)],
        [(3.0, 3.0)] * 5,
        [],
    ],
    ids=["outside", "a line", "no area", "a point", "nothing"],
)
def test_what_encloses_nothing_is_no_region(outline: list[tuple[float, float]]) -> None:
    assert closed_polygon(outline, (100, 100)) is None


coordinates = st.floats(min_value=-300, max_value=300)


@given(st.lists(st.tuples(coordinates, coordinates), max_size=12))
def test_every_polygon_is_closed_and_inside(outline: list[tuple[float, float]]) -> None:
    polygon = closed_polygon(outline, (64, 48))
    if polygon is not None:
        assert len(polygon) >= 4
        assert (polygon[0] == polygon[-1]).all()
        assert (polygon >= 0).all()
        assert (polygon <= np.array([64, 48])).all()


def test_coordinates_of_a_slide_are_of_its_total_pixel_matrix() -> None:
    assert image_size(sm()[0]) == (2220, 2967)
    assert is_tiled(sm()[0])


def test_coordinates_of_a_radiograph_are_of_its_frame() -> None:
    assert image_size(cr()[0]) == (1760, 2048)
    assert not is_tiled(cr()[0])


def test_a_waveform_has_no_size() -> None:
    assert image_size(ecg()[0]) is None
    assert image_size(Dataset()) is None
