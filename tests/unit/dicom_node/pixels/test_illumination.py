from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import BundleFormatError
from dicom_node.pixels.illumination import against_surroundings, field_of
from dicom_node.pixels.ops import Patch, compile_operations

Floats = NDArray[np.float32]


def fundus(size: int = 96) -> Floats:
    """A smooth orange disc on black with one dark and one bright spot."""
    y, x = np.mgrid[:size, :size] - size / 2
    values = np.zeros((size, size, 3), dtype=np.float32)
    values[y**2 + x**2 < (0.48 * size) ** 2] = (0.6, 0.4, 0.2)
    values[30:33, 40:43] *= 0.5
    values[60:63, 50:53] *= 1.5
    return values


def test_spots_stand_out_and_all_else_is_middle_grey() -> None:
    out = against_surroundings(fundus(), 0.25, 12, 1.0)
    assert out.dtype == np.float32
    assert out[31, 41].max() < 0.2
    assert out[61, 51].min() > 0.75
    np.testing.assert_allclose(out[45:50, 20:40], 0.5, atol=0.05)
    assert (out[:5, :5] == 0.5).all()  # outside the field


def test_gain_of_a_camera_and_a_flash_to_one_side_hardly_matter() -> None:
    values = fundus()
    light = np.linspace(0.7, 1.1, values.shape[1], dtype=np.float32)[None, :, None]
    other = values * light * np.array([0.8, 1.2, 1.1], dtype=np.float32)
    ours, theirs = (against_surroundings(v, 0.25, 12, 1.0) for v in (values, other))
    assert np.abs(values - other).mean() > 0.03
    assert np.abs(ours - theirs)[field_of(values, 0.25)].mean() < 0.02


@pytest.mark.parametrize("exposure", [0.3, 1.0, 1.6])
def test_the_field_is_found_whatever_the_exposure_and_keeps_off_its_rim(exposure: float) -> None:
    values = fundus() * np.float32(exposure) + np.float32(0.02 * exposure)  # a border that is not quite black
    field = field_of(values, 0.25)
    lit = values.max(axis=2) > 0.25 * exposure * 0.6
    assert field.sum() < lit.sum()
    assert not (field & ~lit).any()
    assert field.mean() > 0.6


def test_a_black_image_shows_nothing() -> None:
    assert not field_of(np.zeros((32, 32, 3), dtype=np.float32), 0.25).any()
    out = against_surroundings(np.zeros((32, 32, 3), dtype=np.float32), 0.25, 4, 1.0)
    assert (out == 0.5).all()


def test_the_operation_takes_colour_and_says_so() -> None:
    operation = Operation.model_validate(
        {"op": "local_contrast", "threshold": 0.25, "cells": 12, "gain": 1.0}
    )
    step = compile_operations([operation])
    np.testing.assert_array_equal(step(Patch(fundus())).values, against_surroundings(fundus(), 0.25, 12, 1.0))
    with pytest.raises(BundleFormatError, match="local_contrast takes"):
        step(Patch(np.zeros((8, 8), dtype=np.float32)))
