"""Augmentation of ECGs: other devices, filters, electrodes and muscles, never another rhythm or another beat.

Applied to signals after preprocessing. Strengths come from the recipe; a key that is not listed is an error.

    gain       all leads together, e^+-gain           lead_gain  each lead on its own, deviation of log gain
    noise      white, up to this many mV; each lead has its own part of it
    muscle     15 Hz and up, at most this many mV     wander     0.3 to 1 Hz, what a high-pass leaves, mV
    smooth     chance of a low-pass between 20 and 40 Hz, as older devices have
    drop       chance of a flat lead
    stretch    time faster or slower by up to this part: clocks differ; more would change the rate
    crop       chance that up to a quarter is missing, at the end or on both sides

Mains hum has no key: at 100 Hz, 60 Hz is filtered away by resampling and 50 Hz stands at the edge.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import ConfigError

Floats = NDArray[np.float32]
WAVEFORM_KEYS = frozenset(
    {"gain", "lead_gain", "noise", "muscle", "wander", "smooth", "drop", "stretch", "crop"}
)
WANDER, MUSCLE = (0.3, 1.0), (15.0, 48.0)
"""Hz. Wander falls with frequency, as breathing and sweat do."""
MOST_MISSING = 0.25


def coloured(
    leads: int, length: int, rate: float, band: tuple[float, float], random: np.random.Generator
) -> Floats:
    """(leads, length): noise between two frequencies, power falling with their square, deviation 1."""
    frequency = np.fft.rfftfreq(length, 1.0 / rate)
    shape = ((frequency >= band[0]) & (frequency <= band[1])) / np.maximum(frequency, band[0])
    spectrum = random.standard_normal((leads, frequency.size)) + 1j * random.standard_normal(
        (leads, frequency.size)
    )
    made = np.fft.irfft(shape * spectrum, length)
    deviation = made.std(axis=1, keepdims=True)
    return (made / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)


def _cut(signal: Floats, strength: Mapping[str, float], random: np.random.Generator) -> tuple[Floats, int]:
    """A piece at another speed, and the sample at which it is to begin."""
    length = signal.shape[1]
    missing = random.uniform(0.0, MOST_MISSING) * (random.random() < strength.get("crop", 0.0))
    speed = np.exp(random.uniform(-1, 1) * strength.get("stretch", 0.0))
    count = min(round(length * (1.0 - missing)), 1 + int((length - 1) / speed))
    begin = random.uniform(0.0, length - 1 - (count - 1) * speed)
    position = begin + np.arange(count) * speed
    left = np.minimum(position.astype(np.int64), length - 2)
    part = (position - left).astype(np.float32)
    piece = signal[:, left] * (1 - part) + signal[:, left + 1] * part
    return piece, int(random.integers(0, length - count + 1)) if random.random() < 0.5 else 0


def _disturb(
    signal: Floats, rate: float, strength: Mapping[str, float], random: np.random.Generator
) -> Floats:
    """(12, T) with another device's filter, gains and noise."""
    leads, length = signal.shape
    if random.random() < strength.get("smooth", 0.0):
        side = random.uniform(0.1, 0.3)
        inner = (1 - 2 * side) * signal[:, 1:-1] + side * (signal[:, 2:] + signal[:, :-2])
        signal = np.concatenate([signal[:, :1], inner, signal[:, -1:]], axis=1)
    own = np.exp(random.standard_normal((leads, 1)) * strength.get("lead_gain", 0.0))
    made = signal * (np.exp(random.uniform(-1, 1) * strength.get("gain", 0.0)) * own)
    # Each kind of noise is in half of the recordings, or in a fifth, so that clean ones are seen too.
    if random.random() < 0.5:
        wander = coloured(leads, length, rate, WANDER, random)
        made = made + wander * random.uniform(0.0, strength.get("wander", 0.0))
    if random.random() < 0.5:
        level = random.uniform(0.0, strength.get("noise", 0.0)) * np.exp(random.normal(0, 0.5, (leads, 1)))
        made = made + random.standard_normal(made.shape) * level
    if random.random() < 0.2:
        muscle = coloured(leads, length, rate, MUSCLE, random)
        made = made + muscle * random.uniform(0.0, strength.get("muscle", 0.0))
    kept = random.random((leads, 1)) >= strength.get("drop", 0.0)
    disturbed: Floats = (made * kept).astype(np.float32)
    return disturbed


def augment_waveforms(
    batch: Floats, rate: float, strength: Mapping[str, float], random: np.random.Generator
) -> Floats:
    """(N, 12, T) mV after preprocessing to as many other views, a new array. Raises ConfigError for a
    strength that is not known."""
    if unknown := set(strength) - WAVEFORM_KEYS:
        raise ConfigError(f"Unknown waveform augmentation {', '.join(sorted(unknown))}.")
    out = np.zeros_like(batch)
    for signal, made in zip(batch, out, strict=True):
        piece, begin = _cut(signal, strength, random)
        made[:, begin : begin + piece.shape[1]] = _disturb(piece, rate, strength, random)
    return out
