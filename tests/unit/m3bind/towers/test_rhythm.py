"""The features of a rhythm: each against its naive form, and fibrillation against sinus rhythm."""

import numpy as np
import pytest
import torch

from m3bind.towers.beats import BeatFinder
from m3bind.towers.rhythm import ALIKE, FEATURES, P_WINDOW, describe, mean, quantiles
from tests.support.synthetic_ecg import fibrillation, recording, sinus

pytestmark = pytest.mark.train
RMSSD, SHARE = 12, 31
"""Places of two features: root mean square of successive differences, share of P-wave power that repeats."""


def told(*signals):
    beats = BeatFinder()(torch.from_numpy(np.stack(signals)))
    return beats, describe(beats)


def test_mean_and_quantiles_leave_out_what_is_not_valid():
    random = np.random.default_rng(0)
    values = random.normal(size=(5, 9)).astype(np.float32)
    valid = (random.random((5, 9)) < 0.6).astype(np.float32)
    valid[3] = 0.0
    means = mean(torch.from_numpy(values), torch.from_numpy(valid))
    found = quantiles(torch.from_numpy(values), torch.from_numpy(valid), (0.0, 0.5, 1.0))
    for row, chosen in enumerate(valid > 0):
        kept = np.sort(values[row][chosen])
        if kept.size == 0:
            assert means[row] == 0
            assert found[row].tolist() == [0, 0, 0]
            continue
        ranks = [round(q * (kept.size - 1)) for q in (0.0, 0.5, 1.0)]
        assert np.isclose(means[row].item(), kept.mean(), atol=1e-6)
        assert np.allclose(found[row].numpy(), kept[ranks])


def test_successive_differences_equal_a_loop():
    beats, rhythm = told(fibrillation(1))
    times = beats.seconds[0][beats.valid[0] > 0].numpy()
    intervals = np.diff(times)
    relative = intervals / np.sort(intervals)[round(0.5 * (intervals.size - 1))]
    expected = np.sqrt(np.mean(np.diff(relative) ** 2))
    assert rhythm.features.shape == (1, FEATURES)
    assert np.isclose(rhythm.features[0, RMSSD].item(), expected, atol=1e-5)


def test_power_that_repeats_equals_a_loop():
    beats, rhythm = told(sinus(noise=0.03))
    usual = rhythm.usual[0].numpy()
    together = single = 0.0
    kept = [w.numpy() for w, inside in zip(beats.windows[0], beats.whole[0], strict=True) if inside > 0]
    assert all(np.corrcoef(k[:, 30:70].ravel(), usual[:, 30:70].ravel())[0, 1] > ALIKE for k in kept)
    line = np.linspace(-1, 1, P_WINDOW.stop - P_WINDOW.start)
    for lead in range(12):
        pieces = np.stack([k[lead, P_WINDOW] for k in kept])
        pieces = pieces - pieces.mean(axis=1, keepdims=True)
        pieces = pieces - (pieces @ line)[:, None] / (line @ line) * line
        n, both, each = len(pieces), (pieces.mean(axis=0) ** 2).mean(), (pieces**2).mean()
        together += max((n * both - each) / (n - 1), 0.0)
        single += each
    assert np.isclose(rhythm.features[0, SHARE].item(), together / (single + 1e-4), atol=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.04])
def test_fibrillation_is_uneven_and_without_a_p_wave(noise):
    seeds = range(4)
    _, even = told(*(sinus(noise=noise, seed=s) for s in seeds))
    _, uneven = told(*(fibrillation(s, noise=noise) for s in seeds))
    assert even.features[:, RMSSD].max() < 0.08 < 0.15 < uneven.features[:, RMSSD].min()
    assert uneven.features[:, SHARE].max() < 0.35 < 0.45 < even.features[:, SHARE].min()


def test_premature_beats_are_uneven_but_keep_their_p_wave():
    times = 0.5 + 0.8 * np.arange(12)
    times[[4, 8]] -= 0.3
    _, rhythm = told(recording(times))
    assert rhythm.features[0, RMSSD] > 0.15
    assert rhythm.features[0, SHARE] > 0.5
    assert rhythm.unevenness[0].argmax() in (4, 5, 8, 9)


def test_silence_gives_numbers():
    _, rhythm = told(np.zeros((12, 1000), np.float32))
    assert torch.isfinite(rhythm.features).all()
    assert torch.isfinite(rhythm.usual).all()
