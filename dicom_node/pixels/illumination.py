"""What a photograph shows apart from its light: each colour against its own surroundings.

A sensor sees reflectance times illumination times the gain of its colour channel. Around one place the last
two hardly change, so the ratio to the local mean is left with the first: lesions and vessels stay, the cast
of the camera, the flash and the pigment of the eye go. (Kin to what B. Graham did for the Kaggle contest on
diabetic retinopathy, 2015; a ratio where he took a difference.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float32]

FLOOR = 0.05
"""Added to the local mean (0 to 1): what is darker than this is mostly noise, and is not blown up."""
RIM = 5
"""Pixels across: within half of it from the dark border the optics blur light and dark; that is left out."""
BRIGHT = 90
"""Percentile of brightness that stands for a lit place, whatever the exposure: some tenth of any fundus
photograph is field, even with the widest border."""


def field_of(values: Floats, threshold: float) -> NDArray[np.bool_]:
    """(H, W, 3) to (H, W): where some channel is above `threshold` times what a lit place shows, without its
    rim. All False for a black image."""
    brightest = values.max(axis=2)
    lit = float(np.percentile(brightest[::4, ::4], BRIGHT))
    inside = Image.fromarray(((brightest > threshold * lit) * np.uint8(255)).astype(np.uint8))
    return np.asarray(inside.filter(ImageFilter.MinFilter(RIM))) > 0


def against_surroundings(values: Floats, threshold: float, cells: int, gain: float) -> Floats:
    """(H, W, 3) float32, 0 to 1, to the same shape and range; 0.5 is "as its surroundings".

    The local mean is taken over a grid of `cells` x `cells`, and over the field alone: a black border darkens
    nothing. Outside the field all is 0.5. A pixel that differs from its surroundings by their own brightness
    / (2 `gain`) reaches 0 or 1.
    """
    field = field_of(values, threshold)
    lit = field.astype(np.float32)
    share: Floats = np.maximum(_cells(lit, cells), np.float32(1e-3))
    out = np.full(values.shape, 0.5, dtype=np.float32)
    for channel in range(values.shape[2]):
        plane = values[:, :, channel]
        means = (_cells(plane * lit, cells) / share).astype(np.float32, copy=False)
        around = np.maximum(_enlarged(means, lit.shape), np.float32(0.0))
        ratio = (plane - around) / (around + np.float32(FLOOR))
        out[:, :, channel][field] = np.clip(0.5 + np.float32(gain) * ratio, 0.0, 1.0)[field]
    return out


def _cells(plane: Floats, cells: int) -> Floats:
    """Means over overlapping triangles around each of `cells` x `cells` places."""
    return np.asarray(Image.fromarray(plane).resize((cells, cells), Image.Resampling.BILINEAR))


def _enlarged(plane: Floats, shape: tuple[int, ...]) -> Floats:
    return np.asarray(Image.fromarray(plane).resize((shape[1], shape[0]), Image.Resampling.BICUBIC))
