"""Augmentation keeps what preprocessing relies on."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from m3bind.data.augment import augment_image
from m3bind.data.degrade import KEYS


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


def test_an_unknown_strength_is_refused():
    with pytest.raises(ConfigError, match="bluur"):
        augment_image(Patch(np.zeros((4, 4), np.float32)), {"bluur": 1.0}, np.random.default_rng(0))


GREY = {
    "window": 0.2, "sharpen": 1.0, "equal": 0.8, "blur": 0.02, "coarse": 0.6, "noise": 0.1, "jpeg": 80.0,
    "marks": 1.0, "border": 0.1, "erase": 1.0,
}  # fmt: skip


def scene():
    """A smooth picture with an edge, in HU, so that no scale is taken for granted."""
    y, x = np.mgrid[:60, :80].astype(np.float32)
    return np.where(x > 40, 200.0, -900.0 + 10.0 * y).astype(np.float32)


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_way_to_degrade_changes_the_image_and_keeps_its_shape_and_range(key):
    values = scene()
    random = np.random.default_rng(0)
    shown = [augment_image(Patch(values), {key: GREY[key]}, random).values for _ in range(8)]
    assert all(each.shape == values.shape and each.dtype == np.float32 for each in shown)
    assert all(values.min() - 0.1 <= each.min() and each.max() <= values.max() + 0.1 for each in shown)
    step = (values.max() - values.min()) / 255
    assert max(np.abs(each - values).max() for each in shown) > 3 * step


def test_the_same_chance_gives_the_same_image():
    one, two = (augment_image(Patch(scene()), GREY, np.random.default_rng(5)).values for _ in range(2))
    assert np.array_equal(one, two)


def test_colour_images_are_not_degraded_as_grey_ones():
    with pytest.raises(ConfigError, match="marks"):
        augment_image(Patch(np.zeros((8, 8, 3), np.float32)), {"marks": 1.0}, np.random.default_rng(0))


def test_widen_shows_more_than_there_is():
    values = np.ones((40, 40), np.float32)
    values[10:30, 10:30] = 5.0
    small = augment_image(Patch(values), {"widen": 0.5}, np.random.default_rng(0)).values
    assert (small > 3).sum() < (values > 3).sum()
