"""Signals that are no 12-lead electrocardiogram, or one whose leads are not what they are said to be.

All are (12, T) float32, mV, leads I II III aVR aVL aVF V1 to V6, at the rate asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Random = np.random.Generator
LEADS = 12


def flat(random: Random, rate: float, seconds: float) -> Floats:
    """No signal: every lead constant, or a ramp, with at most the noise of an amplifier."""
    count = round(rate * seconds)
    ramp = random.normal(0, 1, (LEADS, 1)) * np.linspace(0, 1, count) * random.choice([0.0, 1.0])
    return _lead(
        random.normal(0, 1, (LEADS, 1)) + ramp + random.normal(0, random.choice([0, 0.002]), (LEADS, count))
    )


def hiss(random: Random, rate: float, seconds: float) -> Floats:
    """Noise of any colour, each lead its own or all nearly the same; or mains hum alone."""
    count = round(rate * seconds)
    if random.random() < 0.2:
        time = np.arange(count) / rate
        hum = np.sin(
            2 * np.pi * random.choice([16.7, 25.0, 49.0]) * time + random.uniform(0, 6.3, (LEADS, 1))
        )
        return _lead(random.uniform(0.1, 2) * hum)
    own = _coloured(random, count, random.uniform(0, 1.5))
    if random.random() < 0.3:
        own = own[:1] + random.uniform(0, 0.3) * own
    return _lead(random.uniform(0.05, 1.5) * own)


def brain(random: Random, rate: float, seconds: float) -> Floats:
    """Like an electroencephalogram: noise that falls with frequency, with bursts of a 8 to 12 Hz rhythm."""
    count = round(rate * seconds)
    time = np.arange(count) / rate
    swell = np.abs(_coloured(random, count, 2.0)[:1])
    rhythm = np.sin(2 * np.pi * random.uniform(8, 12) * time + random.uniform(0, 1.5, (LEADS, 1)))
    signal = _coloured(random, count, random.uniform(0.7, 1.3)) + random.uniform(0, 2) * swell * rhythm
    return _lead(random.uniform(0.02, 1.0) * signal)


def pulse(random: Random, rate: float, seconds: float) -> Floats:
    """A pulse wave (photoplethysmogram, arterial pressure): round, once a beat, the same in all leads."""
    count = round(rate * seconds)
    period = 60 / random.uniform(45, 130)
    phase = (np.arange(count) / rate / period + random.uniform(0, 1)) % 1.0
    wave = np.exp(-(((phase - 0.2) / 0.1) ** 2)) + random.uniform(0.2, 0.6) * np.exp(
        -(((phase - 0.5) / 0.13) ** 2)
    )
    gains = random.uniform(0.3, 1.5, (LEADS, 1)) * random.choice([-1, 1], (LEADS, 1), p=[0.2, 0.8])
    return _lead(gains * wave + random.normal(0, 0.01, (LEADS, count)))


def breath(random: Random, rate: float, seconds: float) -> Floats:
    """Breathing, or movement: slow swings far above what a heart gives."""
    count = round(rate * seconds)
    time = np.arange(count) / rate
    swing = np.sin(2 * np.pi * random.uniform(0.5, 2.0) * time + random.uniform(0, 6.3, (LEADS, 1)))
    return _lead(random.uniform(0.3, 5) * (swing + 0.3 * _coloured(random, count, 1.0)))


DRAWN: Mapping[str, tuple[Callable[[Random, float, float], Floats], ...]] = {
    "a recording without signal": (flat,),
    "noise": (hiss,),
    "another kind of signal": (brain, pulse, breath),
}
"""By what people would call it."""


def mixed_leads(record: Floats, random: Random) -> Floats:
    """At least four leads exchanged among each other, or some turned over: names and signals do not fit."""
    out = record.copy()
    if random.random() < 0.7:
        while True:
            order = random.permutation(LEADS)
            if (order != np.arange(LEADS)).sum() >= 4:
                return np.ascontiguousarray(out[order])
    turned = random.choice(6, int(random.integers(1, 4)), replace=False)
    out[turned] *= -1
    return out


def lost_leads(record: Floats, random: Random) -> Floats:
    """Three leads or more without signal, or all leads the same."""
    out = record.copy()
    if random.random() < 0.3:
        out[:] = record[int(random.integers(LEADS))] * random.uniform(0.8, 1.2, (LEADS, 1))
        return out
    lost = random.choice(LEADS, int(random.integers(3, LEADS)), replace=False)
    out[lost] = random.choice([0.0, random.normal()])
    return out


def wrong_scale(record: Floats, random: Random) -> Floats:
    """A thousand times too large or too small (unit taken for another), or far too fast or slow."""
    if random.random() < 0.6:
        return np.asarray(record * random.choice([1e-3, 1e-2, 30.0, 1e3]), dtype=np.float32)
    speed = random.choice([0.2, 0.25, 4.0, 5.0])
    count = record.shape[1]
    places = np.arange(count) * speed % (count - 1)
    return _lead(np.stack([np.interp(places, np.arange(count), lead) for lead in record]))


DERIVED: Mapping[str, Callable[[Floats, Random], Floats]] = {
    "a recording whose leads do not fit their names": mixed_leads,
    "a recording with leads lost": lost_leads,
    "a recording of another scale or speed": wrong_scale,
}
"""Made from a true record, by what people would call the result."""


def _coloured(random: Random, count: int, steepness: float) -> NDArray[np.float64]:
    """(12, count) noise of unit deviation whose amplitude falls with frequency to the power `steepness`."""
    white = np.fft.rfft(random.normal(size=(LEADS, count)))
    f = np.arange(white.shape[1], dtype=np.float64)
    f[0] = np.inf if steepness else 1.0
    signal = np.fft.irfft(white / f**steepness, n=count)
    return np.asarray(signal / signal.std(axis=1, keepdims=True))


def _lead(values: NDArray[np.float64]) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float32)
