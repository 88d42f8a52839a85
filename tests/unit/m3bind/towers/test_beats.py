"""Beats are found where they were put, and the pooled and sorted forms do what a loop would."""

import numpy as np
import pytest
import torch

from m3bind.towers.beats import AFTER, BEFORE, MOST_BEATS, RATE, REFRACTORY, THRESHOLD, BeatFinder, band_pass
from tests.support.synthetic_ecg import recording, sinus

pytestmark = pytest.mark.train


def found(signal):
    beats = BeatFinder()(torch.from_numpy(np.stack([signal])))
    return beats.seconds[0][beats.valid[0] > 0].numpy()


def naive_envelope(signal):
    taps = band_pass(8.0, 25.0, RATE, 12)
    total = np.zeros(signal.shape[1])
    for lead in signal.astype(np.float64):
        padded = np.pad(lead, 12)
        band = [abs(sum(padded[t + k] * taps[k] for k in range(25))) for t in range(lead.size)]
        smooth = [np.mean(band[max(0, t - 4) : t + 5]) for t in range(lead.size)]
        total += np.minimum(np.asarray(smooth) / (np.mean(smooth) + 0.005), 12.0)
    return total / len(signal)


def naive_peaks(envelope):
    highest = sorted(max(envelope[s : s + 200]) for s in range(0, envelope.size - 199, 100))
    usual = highest[len(highest) * 6 // 10]
    around = [envelope[max(0, t - REFRACTORY) : t + REFRACTORY + 1] for t in range(envelope.size)]
    return [
        t
        for t, value in enumerate(envelope)
        if value >= around[t].max() and value > THRESHOLD * usual and value > 1.0
    ]


def test_envelope_and_peaks_equal_a_loop():
    signal = sinus(noise=0.03, seconds=4.0)
    finder = BeatFinder()
    envelope = finder.envelope(torch.from_numpy(signal[None]))
    assert np.allclose(envelope[0].numpy(), naive_envelope(signal), atol=1e-4)
    place, valid = finder.peaks(envelope)
    assert place.shape == (1, MOST_BEATS)
    assert place[0][valid[0] > 0].tolist() == naive_peaks(envelope[0].numpy())


@pytest.mark.parametrize("noise", [0.0, 0.05])
@pytest.mark.parametrize("per_minute", [40, 75, 150])
def test_every_beat_is_found_where_it_is(per_minute, noise):
    times = np.arange(0.45, 9.6, 60 / per_minute)
    assert np.allclose(found(recording(times, noise=noise)), times, atol=0.012)


def test_gain_of_a_lead_and_a_flat_lead_change_nothing():
    signal = sinus()
    gains = np.exp(np.random.default_rng(0).normal(0, 0.7, (12, 1))).astype(np.float32)
    gains[4] = 0.0
    assert np.allclose(found(signal * gains), found(signal), atol=0.006)


def test_silence_has_no_beat_and_no_nan():
    beats = BeatFinder()(torch.zeros(2, 12, 1000))
    assert beats.valid.sum() == 0
    assert torch.isfinite(beats.windows).all()


def test_a_recording_that_ends_early_has_the_beats_of_its_part():
    signal = sinus()
    signal[:, 800:] = 0
    assert np.allclose(found(signal), found(sinus())[:10], atol=0.012)


def test_windows_are_cut_around_the_beats():
    signal = sinus()
    beats = BeatFinder()(torch.from_numpy(signal[None]))
    padded = np.pad(signal, ((0, 0), (BEFORE, AFTER)))
    for k in torch.nonzero(beats.valid[0]).flatten().tolist():
        at = int(beats.place[0, k])
        assert np.array_equal(beats.windows[0, k].numpy(), padded[:, at : at + BEFORE + AFTER])
    assert beats.whole.sum() <= beats.valid.sum()
