"""Augmentation, on what the reader hands over and therefore before the bundle's own preprocessing.

Strengths come from the recipe; a key that a kind does not know is an error.

images     zoom: up to this part cut away (at a random place); aspect: sides changed by up to this part;
           rotate: degrees; gamma: exponent of brightness, e^+-gamma; mirror: 1 allows left-right flips;
           colour: per-channel gain 1 +- colour
waveforms  gain: amplitude 1 +- gain; noise: mV; shift: seconds rolled around; drop: chance of a flat lead
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch

Floats = NDArray[np.float32]
IMAGE_KEYS = frozenset({"zoom", "aspect", "rotate", "gamma", "mirror", "colour"})
WAVEFORM_KEYS = frozenset({"gain", "noise", "shift", "drop"})


def _warp(plane: Floats, coefficients: tuple[float, ...], fill: float) -> Floats:
    image = Image.fromarray(plane)
    size = (plane.shape[1], plane.shape[0])
    warped = image.transform(
        size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR, fillcolor=fill
    )
    return np.asarray(warped, dtype=np.float32)


def augment_image(patch: Patch, strength: Mapping[str, float], random: np.random.Generator) -> Patch:
    """Another view of the same image, of the same size. `box` is lost: training needs none."""
    if unknown := set(strength) - IMAGE_KEYS:
        raise ConfigError(f"Unknown image augmentation {', '.join(sorted(unknown))}.")
    values = patch.values
    planes = values[:, :, None] if values.ndim == 2 else values
    height, width = planes.shape[:2]
    angle = np.deg2rad(random.uniform(-1, 1) * strength.get("rotate", 0.0))
    size = 1.0 - random.uniform(0, 1) * strength.get("zoom", 0.0)
    ratio = np.exp(random.uniform(-1, 1) * strength.get("aspect", 0.0) / 2)
    mirror = -1.0 if strength.get("mirror", 0.0) and random.random() < 0.5 else 1.0
    # output pixel -> input pixel, around the middle
    a, b = mirror * size * ratio * np.cos(angle), -size * np.sin(angle)
    d, e = mirror * size * np.sin(angle), size / ratio * np.cos(angle)
    slack = (1.0 - size) / 2
    x = width / 2 + random.uniform(-slack, slack) * width
    y = height / 2 + random.uniform(-slack, slack) * height
    affine = (a, b, x - a * width / 2 - b * height / 2, d, e, y - d * width / 2 - e * height / 2)
    fill = float(planes[0, 0].min())
    low, high = float(planes.min()), float(planes.max())
    gamma = np.exp(random.uniform(-1, 1) * strength.get("gamma", 0.0))
    out = []
    for channel in range(planes.shape[2]):
        plane = _warp(np.ascontiguousarray(planes[:, :, channel]), affine, fill)
        if high > low:
            unit = np.clip((plane - low) / (high - low), 0.0, 1.0) ** gamma
            plane = low + unit * (high - low)
        plane = plane * (1.0 + random.uniform(-1, 1) * strength.get("colour", 0.0))
        out.append(plane.astype(np.float32))
    return Patch(out[0] if values.ndim == 2 else np.stack(out, axis=2))


def augment_waveforms(
    batch: Floats, rate: float, strength: Mapping[str, float], random: np.random.Generator
) -> Floats:
    """(N, 12, T) mV after preprocessing, changed in place of time and amplitude; a new array."""
    if unknown := set(strength) - WAVEFORM_KEYS:
        raise ConfigError(f"Unknown waveform augmentation {', '.join(sorted(unknown))}.")
    count, leads = batch.shape[:2]
    out = np.empty_like(batch)
    reach = round(strength.get("shift", 0.0) * rate)
    for i in range(count):
        out[i] = np.roll(batch[i], random.integers(-reach, reach + 1), axis=1)
    out *= 1.0 + strength.get("gain", 0.0) * random.uniform(-1, 1, (count, 1, 1)).astype(np.float32)
    out *= random.random((count, leads, 1)) >= strength.get("drop", 0.0)
    noise = random.standard_normal(batch.shape, dtype=np.float32)
    level = strength.get("noise", 0.0) * random.random((count, 1, 1))
    return (out + noise * level).astype(np.float32)
