from __future__ import annotations

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from m3bind.data.augment import augment_image
from m3bind.data.augment_colour import ALWAYS, HALF, KEYS, STAINS, change_colour

STRENGTH = {
    "cast": 0.4, "exposure": 0.4, "tone": 0.3, "fade": 0.8, "vignette": 0.6, "haze": 0.5, "stain": 0.5,
    "field": 1.0, "blur": 0.02, "coarse": 0.7, "noise": 0.1, "jpeg": 70.0,
}  # fmt: skip


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A coloured disc with texture, on black."""
    y, x = np.mgrid[:height, :width]
    disc = (y - height / 2) ** 2 + (x - width / 2) ** 2 < (height / 2) ** 2
    texture = np.random.default_rng(1).uniform(0.6, 1.0, (height, width, 1))
    return (disc[:, :, None] * texture * (0.8, 0.5, 0.3)).astype(np.float32)


def test_every_strength_is_known():
    assert set(STRENGTH) == KEYS


@pytest.mark.parametrize("key", sorted(KEYS))
def test_each_change_is_seen_stays_in_range_and_depends_on_the_generator_alone(key):
    values, strength = picture(), {key: STRENGTH[key]}
    seen = [change_colour(values, strength, np.random.default_rng(seed)) for seed in range(8)]
    again = change_colour(values, strength, np.random.default_rng(3))
    np.testing.assert_array_equal(again, seen[3])
    changed = [v.shape != values.shape or np.abs(v - values).mean() > 1e-3 for v in seen]
    assert sum(changed) >= 2
    for out in seen:
        assert out.dtype == np.float32
        assert out.shape[2] == 3
        assert 0.0 <= out.min() <= out.max() <= 1.0
    np.testing.assert_array_equal(values, picture())  # the original is left alone


def test_no_strength_changes_nothing():
    np.testing.assert_array_equal(change_colour(picture(), {}, np.random.default_rng(0)), picture())


@pytest.mark.parametrize("key", sorted((set(ALWAYS) | set(HALF)) - {"blur", "coarse", "jpeg", "stain"}))
def test_what_is_dark_gets_no_light(key):
    values = picture()
    for seed in range(6):
        out = change_colour(values, {key: STRENGTH[key]}, np.random.default_rng(seed))
        assert out[0, 0].max() < 0.02


def test_a_cast_is_the_same_at_every_place():
    values = picture() * np.float32(0.5)
    out = change_colour(values, {"cast": 0.3}, np.random.default_rng(0))
    lit = values.min(axis=2) > 0.05
    gains = (out / np.maximum(values, 1e-6))[lit]
    np.testing.assert_allclose(gains, np.broadcast_to(gains[0], gains.shape), rtol=1e-4)
    assert gains[0].std() > 0.02


def test_stains_are_changed_in_optical_density():
    amounts = np.array([0.5, 0.3, 0.0])
    values = np.broadcast_to(np.exp(-amounts @ STAINS), (4, 4, 3)).astype(np.float32)
    out = change_colour(values, {"stain": 0.4}, np.random.default_rng(0))
    found = -np.log(out[0, 0].astype(np.float64)) @ np.linalg.inv(STAINS)
    factors = np.exp(np.random.default_rng(0).uniform(-0.4, 0.4, 3))
    np.testing.assert_allclose(found, amounts * factors, atol=1e-4)


def test_the_changes_are_reached_through_augment_image_for_colour_only():
    random = np.random.default_rng
    shown = augment_image(Patch(picture()), {"cast": 0.4}, random(0)).values
    assert np.abs(shown - picture()).mean() > 1e-3
    with pytest.raises(ConfigError, match="cast"):
        augment_image(Patch(picture()[:, :, 0]), {"cast": 0.4}, random(0))
