"""What another camera, scanner, laboratory or archive may have done to a colour image.

All work on (H, W, 3) float32, 0 to 1, and give the same. Strengths, all 0 where not named:

cast      gain of each channel, e^+-cast: white balance, filters, the pigment of the eye, a yellowed lens
exposure  gain of all channels, e^+-exposure
tone      exponent of each channel, e^+-tone
fade      colours moved up to this part towards grey, or half as far away from it
vignette  brightness lost (or, a third as strong, gained) towards a rim around a random middle
haze      up to this part of the light replaced by an even veil: cataract, dirt, stray light
stain     amounts of haematoxylin and of eosin (optical density), each e^+-stain
field     chance that the picture shows less: a smaller round field, or a rectangle cut out of it
blur      Gaussian, radius up to this part of the longer side
coarse    reduced to as little as 1 - this of its size, and enlarged again
noise     standard deviation
jpeg      saved as JPEG, the quality as low as 100 - this

Light comes first, then the optics, then the sensor, and storing last, as in a camera.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Floats = NDArray[np.float32]
Random = np.random.Generator
Change = Callable[[Floats, float, Random], Floats]

DARK = 0.06
"""Below this in every channel a pixel shows no tissue; no light is added to it."""

STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
"""Optical density in red, green and blue of haematoxylin, eosin and DAB (Ruifrok and Johnston, Anal Quant
Cytol Histol 23:291, 2001), here for what remains beside the first two."""


def _field(values: Floats, strength: float, random: Random) -> Floats:
    if random.random() >= strength:
        return values
    height, width = values.shape[:2]
    if random.random() < 0.4:
        rows, columns = (round(side * random.uniform(0.7, 0.95)) for side in (height, width))
        top, left = random.integers(0, height - rows + 1), random.integers(0, width - columns + 1)
        return values[top : top + rows, left : left + columns]
    radius = width * random.uniform(0.36, 0.5)
    y, x = np.ogrid[:height, :width]
    middle = height * random.uniform(0.42, 0.58), width * random.uniform(0.42, 0.58)
    inside = (y - middle[0]) ** 2 + (x - middle[1]) ** 2 < radius**2
    return np.where(inside[:, :, None], values, np.float32(0.0))


def _vignette(values: Floats, strength: float, random: Random) -> Floats:
    height, width = values.shape[:2]
    y, x = np.ogrid[:height, :width]
    middle = height * random.uniform(0.25, 0.75), width * random.uniform(0.25, 0.75)
    away = ((y - middle[0]) ** 2 + (x - middle[1]) ** 2) / (width / 2) ** 2
    lost = random.uniform(-strength / 3, strength) * np.minimum(away, 1.5)
    left: Floats = (1.0 - lost[:, :, None]).astype(np.float32)
    return values * left


def _haze(values: Floats, strength: float, random: Random) -> Floats:
    part = random.uniform(0.0, strength)
    veil = (random.uniform(0.3, 0.9) * random.uniform(0.7, 1.0, 3)).astype(np.float32)
    lit = values.max(axis=2, keepdims=True) > DARK
    return np.where(lit, values * np.float32(1.0 - part) + veil * np.float32(part), values)


def _gain(values: Floats, strength: float, random: Random) -> Floats:
    gains: Floats = np.exp(random.uniform(-strength, strength, 3)).astype(np.float32)
    return values * gains


def _exposure(values: Floats, strength: float, random: Random) -> Floats:
    return values * np.float32(np.exp(random.uniform(-strength, strength)))


def _tone(values: Floats, strength: float, random: Random) -> Floats:
    exponents: Floats = np.exp(random.uniform(-strength, strength, 3)).astype(np.float32)
    return np.power(np.clip(values, 0.0, 1.0), exponents)


def _fade(values: Floats, strength: float, random: Random) -> Floats:
    part = np.float32(random.uniform(-strength / 2, strength))
    grey = values.mean(axis=2, keepdims=True)
    faded: Floats = values + part * (grey - values)
    return faded


def _stain(values: Floats, strength: float, random: Random) -> Floats:
    density = -np.log(np.maximum(values, np.float32(1 / 255)))
    amounts = density @ np.linalg.inv(STAINS).astype(np.float32)
    amounts *= np.exp(random.uniform(-strength, strength, 3)).astype(np.float32)
    seen: Floats = np.exp(-(amounts @ STAINS.astype(np.float32)))
    return seen


def _picture(values: Floats) -> Image.Image:
    return Image.fromarray(np.rint(np.clip(values, 0.0, 1.0) * np.float32(255.0)).astype(np.uint8))


def _values(picture: Image.Image) -> Floats:
    return np.asarray(picture, dtype=np.float32) / np.float32(255.0)


def _blur(values: Floats, strength: float, random: Random) -> Floats:
    radius = max(values.shape) * random.uniform(0.0, strength)
    return _values(_picture(values).filter(ImageFilter.GaussianBlur(radius)))


def _coarse(values: Floats, strength: float, random: Random) -> Floats:
    picture = _picture(values)
    factor = 1.0 - random.uniform(0.0, strength)
    small = (max(8, round(picture.width * factor)), max(8, round(picture.height * factor)))
    reduced = picture.resize(small, Image.Resampling.BILINEAR)
    return _values(reduced.resize(picture.size, Image.Resampling.BICUBIC))


def _noise(values: Floats, strength: float, random: Random) -> Floats:
    drawn = random.standard_normal(values.shape, dtype=np.float32)
    lit = values.max(axis=2, keepdims=True) > DARK
    return np.where(lit, values + drawn * np.float32(random.uniform(0.0, strength)), values)


def _jpeg(values: Floats, strength: float, random: Random) -> Floats:
    file = BytesIO()
    _picture(values).save(file, "JPEG", quality=round(random.uniform(100.0 - strength, 97.0)))
    return _values(Image.open(file).convert("RGB"))


ALWAYS: Mapping[str, Change] = {
    "stain": _stain,
    "vignette": _vignette,
    "cast": _gain,
    "exposure": _exposure,
    "tone": _tone,
    "fade": _fade,
}
"""Colour is never the same twice."""

HALF: Mapping[str, Change] = {
    "haze": _haze,
    "blur": _blur,
    "coarse": _coarse,
    "noise": _noise,
    "jpeg": _jpeg,
}
"""Each is left out of half of the images: a model must know clean ones too."""

KEYS = frozenset({"field", *ALWAYS, *HALF})


def change_colour(values: Floats, strength: Mapping[str, float], random: Random) -> Floats:
    """(H, W, 3) float32, 0 to 1, to another of the same range; smaller where `field` cut something away."""
    if strength.get("field"):
        values = _field(values, strength["field"], random)
    for key, change in ALWAYS.items():
        if strength.get(key):
            values = change(values, strength[key], random)
    values = np.clip(values, 0.0, 1.0).astype(np.float32)
    for key, change in HALF.items():
        if strength.get(key) and random.random() < 0.5:
            values = np.clip(change(values, strength[key], random), 0.0, 1.0)
    return values.astype(np.float32)
