"""What beats tell of the rhythm: how even the intervals are, whether a P wave stands before the QRS, and what
the usual beat looks like. Fixed arithmetic over `Beats`, nothing learned.

Atrial fibrillation is intervals without order and no P wave; neither alone is (premature beats are uneven,
a paced heart has no P wave).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from m3bind.towers.beats import BEFORE, Beats

P_WINDOW = slice(BEFORE - 26, BEFORE - 6)
"""0.26 to 0.06 s before the QRS."""
QRST = slice(BEFORE - 10, BEFORE + 30)
ALIKE = 0.8
"""Correlation with the usual beat from which a beat counts as one of its kind: extrasystoles do not."""
FEATURES = 36
"""Numbers that `describe` gives."""


class Rhythm(NamedTuple):
    """What `describe` gives."""

    features: Tensor
    """(N, FEATURES)."""
    usual: Tensor
    """(N, 12, BEFORE + AFTER) mV: the mean of the beats that are alike."""
    unevenness: Tensor
    """(N, K): how far the interval before each beat departs from the median one, as a part of it; 0 where
    there is none."""
    weight: Tensor
    """(N, K): with what weight each beat entered `usual`."""


def mean(values: Tensor, valid: Tensor) -> Tensor:
    """(N, L) to (N, 1), over what is valid; 0 where nothing is."""
    return (values * valid).sum(dim=1, keepdim=True) / valid.sum(dim=1, keepdim=True).clamp(min=1.0)


def quantiles(values: Tensor, valid: Tensor, at: tuple[float, ...]) -> Tensor:
    """(N, L) to (N, len(at)): nearest-rank quantiles over what is valid; 0 where nothing is."""
    ordered = torch.where(valid > 0, values, 1e3).sort(dim=1).values
    last = valid.sum(dim=1, keepdim=True) - 1.0
    found = [ordered.gather(1, (last.clamp(min=0.0) * q).round().long()) for q in at]
    return torch.cat(found, dim=1) * (last >= 0)


def describe(beats: Beats) -> Rhythm:
    """All features of N recordings."""
    interval_valid = beats.valid[:, 1:] * beats.valid[:, :-1]
    intervals = (beats.seconds[:, 1:] - beats.seconds[:, :-1]) * interval_valid
    median = quantiles(intervals, interval_valid, (0.5,)).clamp(min=0.25)
    relative = intervals / median
    likeness, usual, weight = _usual_beat(beats)
    features = [
        beats.valid.sum(dim=1, keepdim=True) / 10,
        median,
        *_evenness(relative, interval_valid),
        quantiles(likeness, beats.whole, (0.0, 0.1, 0.25, 0.5)),
        *_p_wave(beats, (likeness > ALIKE) * beats.whole),
    ]
    departure = (relative - 1.0).abs().clamp(max=1.0) * interval_valid
    return Rhythm(torch.cat(features, dim=1), usual, torch.nn.functional.pad(departure, (1, 0)), weight)


def _evenness(relative: Tensor, valid: Tensor) -> list[Tensor]:
    """Of intervals (N, K - 1) as parts of the median one."""
    pair = valid[:, 1:] * valid[:, :-1]
    step = relative[:, 1:] - relative[:, :-1]
    every_second = (relative[:, 2:] - relative[:, :-2]).abs()  # small in bigeminy
    turns = (step[:, 1:] * step[:, :-1] < 0).float()
    between = (relative[:, :, None] - relative[:, None, :]).abs().flatten(1)
    both = (valid[:, :, None] * valid[:, None, :]).flatten(1)
    centred = (relative - mean(relative, valid)).square()
    # How many of all pairs of intervals are equal within 4, 10 and 20 %: the sum in sample entropy.
    alike = [mean(((width - between) / (width / 4)).sigmoid(), both) for width in (0.04, 0.1, 0.2)]
    return [
        quantiles(relative, valid, (0.0, 0.1, 0.25, 0.75, 0.9, 1.0)),
        quantiles(step.abs(), pair, (0.25, 0.5, 0.75, 1.0)),
        mean(step.square(), pair).sqrt(),
        mean(centred, valid).sqrt(),
        quantiles(every_second, valid[:, 2:] * valid[:, :-2], (0.5,)),
        *alike,
        mean(turns, pair[:, 1:] * pair[:, :-1]),
    ]


def _usual_beat(beats: Beats) -> tuple[Tensor, Tensor, Tensor]:
    """Each beat's correlation with the usual one (N, K), the usual one (N, 12, W), weights (N, K)."""
    first = beats.whole / beats.whole.sum(dim=1, keepdim=True).clamp(min=1.0)
    rough = (beats.windows * first[:, :, None, None]).sum(dim=1)
    weight = beats.whole * ((_likeness(beats.windows, rough) - 0.6).clamp(min=0.0) + 1e-3)
    weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
    usual = (beats.windows * weight[:, :, None, None]).sum(dim=1)
    return _likeness(beats.windows, usual), usual, weight


def _likeness(windows: Tensor, usual: Tensor) -> Tensor:
    """(N, K): correlation of each beat's QRST with the usual one, over all leads at once."""
    each, other = windows[..., QRST], usual[:, None, :, QRST]
    each = each - each.mean(dim=-1, keepdim=True)
    other = other - other.mean(dim=-1, keepdim=True)
    power = each.square().sum(dim=(2, 3)) * other.square().sum(dim=(2, 3))
    return (each * other).sum(dim=(2, 3)) / (power + 1e-6).sqrt()


def _p_wave(beats: Beats, chosen: Tensor) -> list[Tensor]:
    """How much of what stands before the QRS is the same in every beat, by lead.

    A P wave adds up over n beats, f waves and noise cancel: (n |mean|^2 - mean of |.|^2) / (n - 1) is an
    unbiased estimate of the power of what repeats. T waves of the beat before repeat only if intervals do.
    """
    piece = beats.windows[..., P_WINDOW]
    line = torch.linspace(-1.0, 1.0, piece.shape[-1], device=piece.device)
    piece = piece - piece.mean(dim=-1, keepdim=True)
    piece = piece - (piece * line).sum(dim=-1, keepdim=True) / line.square().sum() * line
    count = chosen.sum(dim=1, keepdim=True).clamp(min=2.0)  # (N, 1)
    together = ((piece * chosen[:, :, None, None]).sum(dim=1) / count[:, :, None]).square().mean(dim=-1)
    single = (piece.square().mean(dim=-1) * chosen[:, :, None]).sum(dim=1) / count  # (N, 12)
    repeats = ((count * together - single) / (count - 1.0)).clamp(min=0.0)
    part = repeats / (single + 1e-4)
    total, power = repeats.sum(dim=1, keepdim=True), single.sum(dim=1, keepdim=True)
    return [
        part[:, [0, 1, 5, 6]],  # I, II, aVF, V1
        part.sort(dim=1).values[:, [3, 6, 9, 11]],
        total / (power + 1e-4),
        (repeats[:, [1, 6]] + 1e-6).log(),
        (total + 1e-5).log(),
        (power + 1e-5).log(),
    ]
