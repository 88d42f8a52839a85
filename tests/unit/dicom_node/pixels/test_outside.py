"""Padding, shutter and collimator, against masks drawn pixel by pixel from the words of PS3.3."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.pixels.outside import outside, padding
from dicom_node.pixels.select import read_study
from tests.support.pixel_objects import encoder, radiograph, save

ROWS, COLUMNS = 60, 80
GREY = (np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) * 20 + 100).astype(np.uint16)


def described(**attributes: object) -> Dataset:
    ds = Dataset()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def hidden(ds: Dataset) -> NDArray[np.bool_]:
    return outside(ds, np.zeros((ROWS, COLUMNS)), (ROWS, COLUMNS))


@pytest.mark.parametrize("prefix", ["Shutter", "Collimator"])
def test_a_rectangle(prefix: str) -> None:
    ds = described(**{
        f"{prefix}Shape": "RECTANGULAR",
        f"{prefix}LeftVerticalEdge": 11,
        f"{prefix}RightVerticalEdge": 70,
        f"{prefix}UpperHorizontalEdge": 6,
        f"{prefix}LowerHorizontalEdge": 50,
    })  # fmt: skip
    wanted = np.ones((ROWS, COLUMNS), dtype=bool)
    wanted[5:50, 10:70] = False  # columns 11 to 70 and rows 6 to 50, counted from 1
    np.testing.assert_array_equal(hidden(ds), wanted)


def test_a_circle() -> None:
    ds = described(ShutterShape="CIRCULAR", CenterOfCircularShutter=[31, 41], RadiusOfCircularShutter=20)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    wanted = np.hypot(y - 30, x - 40) > 20
    assert (hidden(ds) != wanted).mean() < 0.015


def test_a_polygon_and_a_rectangle_leave_what_both_leave() -> None:
    ds = described(
        ShutterShape=["POLYGONAL", "RECTANGULAR"],
        VerticesOfThePolygonalShutter=[1, 1, 1, 80, 60, 1],
        ShutterLeftVerticalEdge=1,
        ShutterRightVerticalEdge=40,
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=60,
    )
    y, x = np.mgrid[:ROWS, :COLUMNS]
    wanted = (y / 59 + x / 79 > 1) | (x > 39)
    assert (hidden(ds) != wanted).mean() < 0.03


def test_a_shape_that_lacks_its_numbers_hides_nothing() -> None:
    assert not hidden(described(ShutterShape="CIRCULAR")).any()
    assert not hidden(described(ShutterShape="BITMAP")).any()


def test_a_smaller_frame_has_a_smaller_mask() -> None:
    ds = described(ShutterShape="CIRCULAR", CenterOfCircularShutter=[31, 41], RadiusOfCircularShutter=20)
    small = outside(ds, np.zeros((ROWS // 2, COLUMNS // 2)), (ROWS, COLUMNS))
    assert small.shape == (30, 40)
    assert (small != hidden(ds)[::2, ::2]).mean() < 0.03


def test_padding_is_a_value_or_a_range() -> None:
    stored = np.array([[0, 5, 9], [10, 11, 65535]])
    np.testing.assert_array_equal(padding(described(PixelPaddingValue=0), stored), stored == 0)
    ranged = described(PixelPaddingValue=10, PixelPaddingRangeLimit=5)
    np.testing.assert_array_equal(padding(ranged, stored), (stored >= 5) & (stored <= 10))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_what_is_hidden_is_black_and_is_not_stretched(tmp_path: Path, photometric: str) -> None:
    pixels = GREY.copy()
    pixels[:, :10] = 65000
    ds = radiograph(pixels, photometric, bits=16)
    ds.PixelPaddingValue = 65000
    (view,) = read_study([save(ds, tmp_path)], {"xray": encoder("radiograph")}).views
    values = view.samples[0].values
    assert (values[:, :10] == 0).all()
    seen = GREY[:, 10:].astype(np.float64)
    wanted = (seen - seen.min()) / np.ptp(seen)
    np.testing.assert_allclose(
        values[:, 10:], wanted if photometric == "MONOCHROME2" else 1 - wanted, atol=1e-5
    )
    assert any("black" in note for note in view.notes)


def test_a_circle_of_kilometres_is_drawn_at_once() -> None:
    began = time.process_time()
    ds = described(
        ShutterShape="CIRCULAR", CenterOfCircularShutter=[31, 41], RadiusOfCircularShutter=2_000_000_000
    )
    assert not hidden(ds).any()
    assert time.process_time() - began < 1


def test_vertices_far_outside_are_cut_off() -> None:
    far = 2_000_000_000
    ds = described(
        ShutterShape=["POLYGONAL", "POLYGONAL"],
        VerticesOfThePolygonalShutter=[-far, -far, -far, 41, far, 41, far, -far],
    )
    wanted = np.zeros((ROWS, COLUMNS), dtype=bool)
    wanted[:, 41:] = True
    np.testing.assert_array_equal(hidden(ds), wanted)


def test_what_would_hide_nearly_all_is_ignored_and_told(tmp_path: Path) -> None:
    ds = radiograph(GREY, bits=16)
    ds.CollimatorShape = "RECTANGULAR"
    for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal"):
        setattr(ds, f"Collimator{edge}Edge", 0)
    (view,) = read_study([save(ds, tmp_path)], {"xray": encoder("radiograph")}).views
    assert view.samples[0].values.std() > 0.1
    assert any("ignored" in note for note in view.notes)
