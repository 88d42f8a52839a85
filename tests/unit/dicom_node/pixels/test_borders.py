"""Borders burned into radiographs are found, and anatomy is left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom import dcmread

from dicom_node.pixels.borders import Inner, inside_borders
from dicom_node.pixels.select import read_study
from tests.support.pixel_objects import SAMPLES, encoder, radiograph, save

CHEST = np.asarray(dcmread(SAMPLES / "xray" / "chest-pa.dcm").pixel_array)
WHOLE = Inner(0, CHEST.shape[0], 0, CHEST.shape[1])


def framed(value: int, top: int, bottom: int, left: int, right: int) -> NDArray[Any]:
    out = np.full_like(CHEST, value)
    out[top:bottom, left:right] = CHEST[top:bottom, left:right]
    return out


def test_a_chest_without_a_border_is_left_alone() -> None:
    assert inside_borders(CHEST) == WHOLE
    assert inside_borders(255 - CHEST) == WHOLE
    assert inside_borders(CHEST[:, 40:360]) == Inner(0, 400, 0, 320)


@pytest.mark.parametrize("value", [60, 128, 255])  # of 0 it would not end where air begins
def test_a_frame_of_any_value(value: int) -> None:
    assert inside_borders(framed(value, 20, 380, 60, 330)) == Inner(20, 380, 60, 330)
    assert inside_borders(framed(value, 0, 380, 0, 400)) == Inner(0, 380, 0, 400)


def test_a_frame_in_a_frame() -> None:
    inner = framed(255, 40, 360, 50, 340)
    out = np.zeros_like(inner)
    out[15:385, 20:370] = inner[15:385, 20:370]
    assert inside_borders(out) == Inner(40, 360, 50, 340)


def test_a_bar_with_text() -> None:
    picture = Image.fromarray(framed(0, 0, 370, 0, 400))
    ImageDraw.Draw(picture).text((20, 378), "HOSPITAL  12:30  PORTABLE", fill=255)
    assert inside_borders(np.asarray(picture)) == Inner(0, 370, 0, 400)


def test_noise_and_a_filter_do_not_hide_a_frame() -> None:
    random = np.random.default_rng(3)
    noisy = framed(240, 30, 370, 40, 360).astype(np.float64) + random.normal(0, 1.5, CHEST.shape)
    small = Image.fromarray(noisy.astype(np.float32)).resize((250, 250), Image.Resampling.BILINEAR)
    inner = inside_borders(np.asarray(small))
    assert abs(inner.top - 18.75) < 2
    assert abs(inner.bottom - 231.25) < 2
    assert abs(inner.left - 25) < 2
    assert abs(inner.right - 225) < 2


def test_what_is_no_border() -> None:
    flat = np.full((64, 64), 7, dtype=np.uint16)
    assert inside_borders(flat) == Inner(0, 64, 0, 64)
    rows, columns = np.mgrid[:200, :200]
    body = np.where((rows - 120) ** 2 + (columns - 100) ** 2 < 80**2, 200, 0)  # air around what is round
    assert inside_borders(body) == Inner(0, 200, 0, 200)
    stamp = framed(0, 160, 240, 160, 240)  # little would be left
    assert inside_borders(stamp) == WHOLE
    assert inside_borders(CHEST[:20, :20]) == Inner(0, 20, 0, 20)


def test_only_what_a_shutter_lets_through_is_looked_at() -> None:
    seen = np.zeros(CHEST.shape, dtype=bool)
    seen[50:350, 50:350] = True
    assert inside_borders(CHEST, seen) == Inner(50, 350, 50, 350)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_border_is_black_and_told_and_the_rest_is_as_without(tmp_path: Path, photometric: str) -> None:
    encoders = {"xray": encoder("radiograph")}
    plain, bordered = (
        read_study([save(radiograph(pixels, photometric), tmp_path)], encoders).views[0]
        for pixels in (CHEST, framed(255, 20, 380, 60, 330))
    )
    values = bordered.samples[0].values
    np.testing.assert_array_equal(values[20:380, 60:330], plain.samples[0].values[20:380, 60:330])
    assert values[:20].max() == values[380:].max() == values[:, :60].max() == values[:, 330:].max() == 0
    assert any("39 % of the image" in note for note in bordered.notes)
    assert not any("border" in note for note in plain.notes)
