"""Heart beats inside a graph: where they are, and the signal around each. Fixed arithmetic, nothing learned.

    signal (N, 12, T) mV at 100 Hz -> envelope (N, T) of QRS energy -> peaks, at most K -> windows around them

The steps are those of Pan and Tompkins (doi 10.1109/TBME.1985.325532): a band-pass, rectification, a moving
mean, and peaks above a threshold that follows the recording. Instead of a loop over time they use sorting and
pooling, which any ONNX runtime has.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

RATE = 100
"""Hz. RR intervals are read to a fraction of a sample, and a P wave lasts 8 to 12 of them."""
BAND = (8.0, 25.0)
"""Hz: most of a QRS complex, little of P and T waves, of breathing and of muscles."""
MOST_BEATS = 40
"""Of ten seconds: 240 per minute."""
BEFORE, AFTER = 40, 56
"""Samples around a beat: 0.4 s, for the P wave of a long PR interval, and 0.56 s, for the T wave."""
REFRACTORY = 25
"""Samples on each side of a peak in which no higher one may lie; with BAND, 0.25 s tells a QRS from its T."""
THRESHOLD = 0.4
"""Part of the usual height of a peak (the 60th percentile of the maxima of two-second windows)."""
FAR = 1 << 20


class Beats(NamedTuple):
    """Beats of N recordings in order of time; unused places, at the end, have `valid` false."""

    place: Tensor
    """(N, K) int64 sample."""
    valid: Tensor
    """(N, K) float32: 1 where there is a beat."""
    whole: Tensor
    """(N, K) float32: 1 where, up to 0.1 s, its window lies inside the recording as well."""
    seconds: Tensor
    """(N, K) float32: the same time to a fraction of a sample."""
    windows: Tensor
    """(N, K, 12, BEFORE + AFTER) mV."""


def band_pass(low: float, high: float, rate: float, half: int) -> NDArray[np.float32]:
    """(2 half + 1,) taps: a windowed sinc (Hamming), blind to a constant."""
    n = np.arange(-half, half + 1)
    taps = 2 * high / rate * np.sinc(2 * high / rate * n) - 2 * low / rate * np.sinc(2 * low / rate * n)
    taps = taps * np.hamming(2 * half + 1)
    blind: NDArray[np.float32] = (taps - taps.mean()).astype(np.float32)
    return blind


def full_precision(signal: Tensor) -> AbstractContextManager[object]:
    """Switches mixed precision off: a peak's place must not depend on how a training is run."""
    kind = signal.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


class BeatFinder(nn.Module):
    """(N, 12, T) float32 mV at 100 Hz to `Beats`."""

    taps: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        half = 12
        taps = torch.from_numpy(band_pass(*BAND, RATE, half))
        self.register_buffer("taps", taps.repeat(12, 1, 1), persistent=False)
        self.register_buffer("window", torch.arange(BEFORE + AFTER), persistent=False)
        self._half = half

    def envelope(self, signal: Tensor) -> Tensor:
        """(N, T): rectified band-passed signal, smoothed over 90 ms, in units of each lead's own mean, mean
        over leads. A lead of other gain counts the same, and a flat one not at all."""
        band = nn.functional.conv1d(signal, self.taps, padding=self._half, groups=12).abs()
        smooth = nn.functional.avg_pool1d(band, 9, 1, 4, count_include_pad=False)
        usual = smooth.mean(dim=2, keepdim=True) + 0.005
        return (smooth / usual).clamp(max=12.0).mean(dim=1)

    def peaks(self, envelope: Tensor) -> tuple[Tensor, Tensor]:
        """Samples (N, K) of the beats in order of time, and 1 where there is one (else 0)."""
        highest = nn.functional.max_pool1d(envelope[:, None], 2 * REFRACTORY + 1, 1, REFRACTORY)[:, 0]
        maxima = nn.functional.max_pool1d(envelope[:, None], 2 * RATE, RATE)[:, 0]
        usual = maxima.sort(dim=1).values[:, maxima.shape[1] * 6 // 10, None]
        is_peak = (envelope >= highest) & (envelope > THRESHOLD * usual) & (envelope > 1.0)
        height, place = torch.where(is_peak, envelope, 0.0).topk(MOST_BEATS, dim=1)
        place = torch.where(height > 0, place, FAR).sort(dim=1).values
        return torch.where(place < FAR, place, envelope.shape[1] // 2), (place < FAR).float()

    def forward(self, signal: Tensor) -> Beats:
        """Beats with their windows; beyond the ends of the recording there are zeros."""
        envelope = self.envelope(signal)
        place, valid = self.peaks(envelope)
        length, leads = envelope.shape[1], signal.shape[1]
        padded = nn.functional.pad(signal, (BEFORE, AFTER))
        index = (place[:, :, None] + self.window).flatten(1)[:, None].expand(-1, leads, -1)
        windows = padded.gather(2, index).reshape(-1, leads, MOST_BEATS, BEFORE + AFTER).transpose(1, 2)
        inside = (place >= BEFORE - 10) & (place < length - AFTER + 10)
        return Beats(place, valid, valid * inside, self._seconds(envelope, place), windows)

    def _seconds(self, envelope: Tensor, place: Tensor) -> Tensor:
        """The top of the parabola through a peak and its neighbours."""
        before = envelope.gather(1, (place - 1).clamp(min=0))
        after = envelope.gather(1, (place + 1).clamp(max=envelope.shape[1] - 1))
        bend = (before - 2 * envelope.gather(1, place) + after).clamp(max=-1e-3)
        return (place + (0.5 * (before - after) / bend).clamp(-0.5, 0.5)) / RATE
