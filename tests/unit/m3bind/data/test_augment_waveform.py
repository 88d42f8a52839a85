"""Augmentation of ECGs changes the device, not the heart."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.data.augment_waveform import MUSCLE, WAVEFORM_KEYS, augment_waveforms, coloured

ALL = {
    "gain": 0.15, "lead_gain": 0.06, "noise": 0.05, "muscle": 0.06, "wander": 0.08,
    "smooth": 0.3, "drop": 0.1, "stretch": 0.06, "crop": 0.5,
}  # fmt: skip


def batch():
    return np.random.default_rng(0).normal(size=(6, 12, 400)).astype(np.float32)


def test_signals_keep_their_shape_and_are_not_changed_in_place():
    assert set(ALL) == WAVEFORM_KEYS
    before = batch()
    out = augment_waveforms(before, 100.0, ALL, np.random.default_rng(1))
    assert out.shape == before.shape
    assert out.dtype == np.float32
    assert np.array_equal(before, batch())
    assert not np.allclose(out, before)
    again = augment_waveforms(before, 100.0, ALL, np.random.default_rng(1))
    assert np.array_equal(out, again)


def test_no_strength_changes_nothing():
    out = augment_waveforms(batch(), 100.0, {}, np.random.default_rng(1))
    assert np.allclose(out, batch(), atol=1e-6)


def test_a_crop_leaves_a_piece_of_the_signal_and_zeros():
    out = augment_waveforms(batch(), 100.0, {"crop": 1.0}, np.random.default_rng(2))
    for made, signal in zip(out, batch(), strict=True):
        kept = np.flatnonzero(np.abs(made[0]) > 0)
        length = kept[-1] - kept[0] + 1
        assert 300 <= length <= 400
        piece = made[:, kept[0] : kept[-1] + 1]
        # Between two samples of the signal: never beyond the larger of them.
        assert np.abs(piece).max() <= np.abs(signal).max() + 1e-5
        assert not made[:, : kept[0]].any()


def test_time_is_stretched_by_no_more_than_asked():
    time = np.tile(np.arange(400, dtype=np.float32), (4, 12, 1))
    out = augment_waveforms(time, 100.0, {"stretch": 0.06}, np.random.default_rng(3))
    for made in out:
        steps = np.diff(made[0][made[0] > 0])[2:-2]
        assert np.exp(-0.061) < np.median(steps) < np.exp(0.061)


def test_coloured_noise_stays_in_its_band():
    made = coloured(3, 1000, 100.0, MUSCLE, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(made, axis=1)) ** 2
    frequency = np.fft.rfftfreq(1000, 0.01)
    inside = (frequency >= MUSCLE[0]) & (frequency <= MUSCLE[1])
    assert power[:, ~inside].sum() < 1e-6 * power.sum()
    assert np.allclose(made.std(axis=1), 1.0, atol=1e-3)


def test_an_unknown_strength_is_refused():
    with pytest.raises(ConfigError, match="zoom"):
        augment_waveforms(np.zeros((1, 12, 10), np.float32), 100.0, {"zoom": 1.0}, np.random.default_rng(0))
