"""The same kind of image or record as another hospital would make it: other exposure, crop, field, frame,
compression, colour, sharpness, filter and gain. They belong to the scope as much as the originals do.

Everything is done to what the reader hands over, before the bundle's own preprocessing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.pixels.ops import Patch

Floats = NDArray[np.float32]
Random = np.random.Generator
CT_RANGE = (-1250.0, 250.0)
"""HU, in which slices are altered: the window of lungs, at its widest."""


def other_machine(patch: Patch, reader: str, random: Random) -> Patch:
    """`patch` of `reader`, altered; an unknown reader's images are only cut, blurred and compressed."""
    return ALTERATIONS.get(reader, _plain)(patch, random)


def _radiograph(patch: Patch, random: Random) -> Patch:
    values = _moved(patch.values, random, cut=0.15, turn=8.0)
    values = _toned(values, random, gamma=0.5, gain=0.25)
    values = _sharpness(values, random)
    if random.random() < 0.4:
        values = _framed(values, random, most=0.12)
    return replace(patch, values=_compressed(_grainy(values, random, 0.03), random), box=None)


def _ct(patch: Patch, random: Random) -> Patch:
    low, high = CT_RANGE
    values = np.clip((patch.values - low) / (high - low), 0, 1).astype(np.float32)
    values = _moved(values, random, cut=0.18, turn=6.0)
    if random.random() < 0.4:  # a wider field of view
        values = _framed(values, random, most=0.3, fill=float(values.min()))
    values = _sharpness(values, random)
    values = _grainy(values, random, 0.05)
    if random.random() < 0.5:
        values = _compressed(values, random)
    # Scanners differ by some HU.
    shift, gain = random.uniform(-25, 25), random.uniform(0.95, 1.05)
    hu = low + (high - low) * values
    hu = np.where(values <= 0, patch.values.min(), np.where(values >= 1, hu, hu * gain + shift))
    return replace(patch, values=hu.astype(np.float32), box=None)


def _retina(patch: Patch, random: Random) -> Patch:
    values = _moved(patch.values, random, cut=0.08, turn=15.0)
    if random.random() < 0.5:
        values = values[:, ::-1]
    values = _toned(values, random, gamma=0.45, gain=0.25)
    values = _red_free(values, random) if random.random() < 0.15 else _coloured(values, random, 0.22)
    if random.random() < 0.35:
        values = _narrowed(values, random)
    if random.random() < 0.3:  # a camera that cuts the field above and below
        height = values.shape[0]
        part = int(height * random.uniform(0.02, 0.14))
        values = values[part : height - part]
    if random.random() < 0.4:
        values = _framed(values, random, most=0.25, fill=0.0)
    return replace(patch, values=_compressed(_sharpness(values, random), random), box=None)


def _slide(patch: Patch, random: Random) -> Patch:
    values = np.rot90(patch.values, int(random.integers(4)))
    if random.random() < 0.5:
        values = values[:, ::-1]
    values = _moved(values, random, cut=0.3, turn=0.0)
    values = _toned(values, random, gamma=0.3, gain=0.12)
    values = _coloured(values, random, 0.1)
    return replace(patch, values=_compressed(_sharpness(values, random), random), box=None)


def _ecg(patch: Patch, random: Random) -> Patch:
    """Gain, wander, mains hum, muscle, another filter and another pulse; leads stay what they are."""
    rate = patch.rate or 100.0
    count = patch.values.shape[1]
    pulse = random.uniform(0.8, 1.25)
    places = np.arange(count) * pulse % (count - 1)  # the record starts again where it ends
    values = np.stack([np.interp(places, np.arange(count), lead) for lead in patch.values])
    values = values * np.exp(random.uniform(-0.5, 0.5))
    time = np.arange(count) / rate
    if random.random() < 0.5:
        span = int(random.integers(1, max(2, round(rate / 30))))
        kernel = np.ones(span) / span
        values = np.stack([np.convolve(lead, kernel, "same") for lead in values])
    phase, slow = random.uniform(0, 2 * np.pi, (12, 1)), random.uniform(0.1, 0.5)
    added = random.uniform(0, 0.25) * np.sin(2 * np.pi * slow * time + phase)
    if random.random() < 0.3:
        mains = random.choice([50.0, 60.0])
        added = added + random.uniform(0, 0.04) * np.sin(2 * np.pi * mains * time + phase)
    added = added + random.normal(0, random.uniform(0, 0.03), values.shape)
    # What reaches the electrodes reaches all limb leads, and obeys the laws that bind them.
    one, two = added[0], added[1]
    added[2:6] = two - one, -(one + two) / 2, one - two / 2, two - one / 2
    return replace(patch, values=(values + added).astype(np.float32))


def _plain(patch: Patch, random: Random) -> Patch:
    values = _moved(patch.values, random, cut=0.08, turn=5.0)
    return replace(patch, values=_compressed(_sharpness(values, random), random), box=None)


ALTERATIONS: Mapping[str, Callable[[Patch, Random], Patch]] = {
    "radiograph": _radiograph,
    "ct": _ct,
    "retina": _retina,
    "slide": _slide,
    "ecg": _ecg,
}
"""By `Encoder.reader`."""


def _planes(values: Floats, change: Callable[[Image.Image], Image.Image]) -> Floats:
    """Each colour of (H, W) or (H, W, 3) through Pillow, in single precision."""
    planes = values[:, :, None] if values.ndim == 2 else values
    changed = [
        np.asarray(change(Image.fromarray(np.ascontiguousarray(planes[:, :, c]))), dtype=np.float32)
        for c in range(planes.shape[2])
    ]
    return changed[0] if values.ndim == 2 else np.stack(changed, axis=2)


def _moved(values: Floats, random: Random, cut: float, turn: float) -> Floats:
    """Up to `cut` off each side, then turned by up to `turn` degrees."""
    height, width = values.shape[:2]
    top, bottom = (random.uniform(0, cut, 2) * height).astype(int)
    left, right = (random.uniform(0, cut, 2) * width).astype(int)
    part = np.ascontiguousarray(values[top : height - bottom, left : width - right])
    angle = random.uniform(-turn, turn)
    if not turn:
        return part
    fill = float(part[0, 0].min())
    return _planes(part, lambda plane: plane.rotate(angle, Image.Resampling.BILINEAR, fillcolor=fill))


def _toned(values: Floats, random: Random, gamma: float, gain: float) -> Floats:
    """Another curve from exposure to brightness; sometimes an S-shaped one."""
    out = np.clip(values, 0, 1) ** np.float32(np.exp(random.uniform(-gamma, gamma)))
    if random.random() < 0.4:
        steep = random.uniform(2.0, 7.0)
        out = 1 / (1 + np.exp(-steep * (out - random.uniform(0.35, 0.65))))
    low = random.uniform(0, gain)
    return np.asarray(low + (1 - low) * out * random.uniform(1 - gain, 1 + gain), dtype=np.float32).clip(0, 1)


def _coloured(values: Floats, random: Random, most: float) -> Floats:
    """Other gains of the three colours, and some of each in the others."""
    mix = np.diag(1 + random.uniform(-most, most, 3)) + random.uniform(-most, most, (3, 3)) / 6
    return np.clip(values @ mix.T, 0, 1).astype(np.float32)


def _red_free(values: Floats, random: Random) -> Floats:
    """(H, W, 3) seen in green light: shown in grey, or left green."""
    tint = [1.0, 1.0, 1.0] if random.random() < 0.7 else [0.1, 1.0, 0.2]
    return np.asarray(values[:, :, 1:2] * np.array(tint), dtype=np.float32)


def _narrowed(values: Floats, random: Random) -> Floats:
    """(H, W, 3) as a camera of a narrower field sees it: a disc of the middle, or somewhat beside it; all
    around it is black."""
    height, width = values.shape[:2]
    side = int(min(height, width) * random.uniform(0.55, 0.95))
    # The disc of a camera of 30 or 45 degrees within one of 50: next to the middle of the picture.
    top = int((height - side) * random.uniform(0.25, 0.75))
    left = int((width - side) * random.uniform(0.25, 0.75))
    part = values[top : top + side, left : left + side]
    across = np.linspace(-1, 1, side)
    inside = np.hypot(across[None], across[:, None]) < random.uniform(0.9, 1.3)
    return np.asarray(part * inside[:, :, None], dtype=np.float32)


def _sharpness(values: Floats, random: Random) -> Floats:
    """Seen at a lower resolution, or with its edges raised."""
    height, width = values.shape[:2]
    part = random.uniform(0.35, 1.0)
    small = (max(8, round(width * part)), max(8, round(height * part)))

    def coarse(plane: Image.Image) -> Image.Image:
        return plane.resize(small, Image.Resampling.BILINEAR).resize(
            (width, height), Image.Resampling.BICUBIC
        )

    if random.random() < 0.3:
        amount = random.uniform(0.3, 1.0)
        return np.asarray(values + amount * (values - _planes(values, coarse)), dtype=np.float32).clip(0, 1)
    return _planes(values, coarse).clip(0, 1) if random.random() < 0.5 else values


def _grainy(values: Floats, random: Random, most: float) -> Floats:
    grain = random.normal(0, random.uniform(0, most), values.shape)
    return np.clip(values + grain, 0, 1).astype(np.float32)


def _framed(values: Floats, random: Random, most: float, fill: float | None = None) -> Floats:
    """A border of one brightness on some sides, as collimators and viewers leave it."""
    sides = (random.uniform(0, most, 4) * (random.random(4) < 0.6) * max(values.shape[:2])).astype(int)
    widths = [(sides[0], sides[1]), (sides[2], sides[3])] + [(0, 0)] * (values.ndim - 2)
    level = fill if fill is not None else float(random.choice([0.0, 0.0, 1.0]))
    return np.pad(values, widths, constant_values=level)


def _compressed(values: Floats, random: Random) -> Floats:
    """Through JPEG at a quality of 40 to 95, half of the time."""
    if random.random() < 0.5:
        return np.ascontiguousarray(values)
    buffer = BytesIO()
    grey = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(grey).save(buffer, "JPEG", quality=int(random.integers(40, 96)))
    with Image.open(buffer) as image:
        return np.asarray(image, dtype=np.float32) / np.float32(255)
