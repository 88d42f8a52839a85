"""Augmentation keeps what preprocessing relies on."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from m3bind.data.augment import augment_image, augment_waveforms


def test_image_keeps_its_shape_and_range():
    random = np.random.default_rng(0)
    values = random.random((40, 30, 3), dtype=np.float32)
    strength = {"zoom": 0.2, "aspect": 0.2, "rotate": 15.0, "gamma": 0.3, "mirror": 1.0}
    out = augment_image(Patch(values), strength, random).values
    assert out.shape == values.shape
    assert out.dtype == np.float32
    assert out.min() >= values.min() - 1e-5
    assert out.max() <= values.max() + 1e-5
    assert not np.allclose(out, values)


def test_strength_nought_changes_nothing_but_rounding():
    values = np.random.default_rng(0).random((16, 16), dtype=np.float32)
    out = augment_image(Patch(values), {}, np.random.default_rng(1)).values
    assert np.allclose(out, values, atol=1e-4)


def test_waveforms_keep_their_shape_and_are_not_changed_in_place():
    batch = np.random.default_rng(0).normal(size=(3, 12, 200)).astype(np.float32)
    before = batch.copy()
    strength = {"gain": 0.2, "noise": 0.05, "shift": 0.5, "drop": 0.2}
    out = augment_waveforms(batch, 100.0, strength, np.random.default_rng(1))
    assert out.shape == batch.shape
    assert out.dtype == np.float32
    assert np.array_equal(batch, before)
    assert not np.allclose(out, before)


def test_an_unknown_strength_is_refused():
    with pytest.raises(ConfigError, match="bluur"):
        augment_image(Patch(np.zeros((4, 4), np.float32)), {"bluur": 1.0}, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="zoom"):
        augment_waveforms(np.zeros((1, 12, 10), np.float32), 100.0, {"zoom": 1.0}, np.random.default_rng(0))
