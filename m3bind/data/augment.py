"""Augmentation, on what the reader hands over and therefore before the bundle's own preprocessing.

Strengths come from the recipe; a key that a kind does not know is an error.

images     zoom: up to this part cut away (at a random place); widen: up to this part added around; aspect:
           sides changed by up to this part; rotate: degrees; gamma: exponent of brightness, e^+-gamma;
           mirror: 1 allows left-right flips; colour: per-channel gain 1 +- colour;
           grey images only: what `degrade.py` lists; colour images only: what `augment_colour.py` lists
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from m3bind.data.augment_colour import KEYS as COLOUR_KEYS
from m3bind.data.augment_colour import change_colour
from m3bind.data.degrade import KEYS as DEGRADE_KEYS
from m3bind.data.degrade import degrade

Floats = NDArray[np.float32]
IMAGE_KEYS = frozenset({"zoom", "widen", "aspect", "rotate", "gamma", "mirror", "colour"})
"""Of images of any number of channels."""


def _warp(plane: Floats, coefficients: tuple[float, ...], fill: float) -> Floats:
    image = Image.fromarray(plane)
    size = (plane.shape[1], plane.shape[0])
    warped = image.transform(
        size, Image.Transform.AFFINE, coefficients, resample=Image.Resampling.BILINEAR, fillcolor=fill
    )
    return np.asarray(warped, dtype=np.float32)


def augment_image(patch: Patch, strength: Mapping[str, float], random: np.random.Generator) -> Patch:
    """Another view of the same image, of about the same size. `box` is lost: training needs none."""
    values = patch.values
    known = IMAGE_KEYS | (DEGRADE_KEYS if values.ndim == 2 else COLOUR_KEYS)
    if unknown := set(strength) - known:
        raise ConfigError(f"Unknown image augmentation {', '.join(sorted(unknown))}.")
    planes = values[:, :, None] if values.ndim == 2 else values
    height, width = planes.shape[:2]
    angle = np.deg2rad(random.uniform(-1, 1) * strength.get("rotate", 0.0))
    size = 1.0 + random.uniform(-strength.get("zoom", 0.0), strength.get("widen", 0.0))
    ratio = np.exp(random.uniform(-1, 1) * strength.get("aspect", 0.0) / 2)
    mirror = -1.0 if strength.get("mirror", 0.0) and random.random() < 0.5 else 1.0
    # output pixel -> input pixel, around the middle
    a, b = mirror * size * ratio * np.cos(angle), -size * np.sin(angle)
    d, e = mirror * size * np.sin(angle), size / ratio * np.cos(angle)
    slack = abs(1.0 - size) / 2
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
            if values.ndim == 2:
                unit = degrade(unit, strength, random)
            plane = low + unit * (high - low)
        plane = plane * (1.0 + random.uniform(-1, 1) * strength.get("colour", 0.0))
        out.append(plane.astype(np.float32))
    if values.ndim == 2:
        return Patch(out[0])
    return Patch(change_colour(np.stack(out, axis=2), strength, random))
