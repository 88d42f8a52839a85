"""What another machine, another archive or another hand may have done to a grey image.

All work on one plane scaled to 0..1 and give one of the same size. A model that answers the same after them
has not learned how one hospital's images happen to look. Strengths, all 0 where not named:

window   both ends of the grey scale move by up to this part of it, and what falls outside is clipped
sharpen  local contrast: the difference to a blurred copy is taken up to 1 + this many times, or down to 0.3
equal    blended with its own histogram-equalised form by up to this part
blur     Gaussian, radius up to this part of the longer side
coarse   reduced to as little as 1 - this of its size, and enlarged again
noise    standard deviation, white or of the size of a few pixels
jpeg     saved as JPEG, the quality as low as 100 - this
marks    chance that letters and bars as burned-in markers are drawn near the rim
border   each side covered, at a chance of 30 %, by a black, white or grey bar up to this part wide
erase    chance that a rectangle of up to a tenth of the image is one grey
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageOps

Floats = NDArray[np.float32]
Random = np.random.Generator

LETTERS = "RLAPSTDECUO1234567890/:. "
"""What burned-in markers are made of: sides, views, times."""


def _window(plane: Floats, strength: float, random: Random) -> Floats:
    low, high = random.uniform(-strength, strength), 1.0 + random.uniform(-strength, strength)
    return np.asarray(np.clip((plane - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def _sharpen(image: Image.Image, strength: float, random: Random) -> Image.Image:
    """Multiscale processing of radiographs, and the kernels of CT, differ in this above all."""
    radius = max(image.size) * random.uniform(0.005, 0.08)
    smooth = image.filter(ImageFilter.GaussianBlur(radius))
    gain = random.uniform(1.0, 1.0 + strength) if random.random() < 0.7 else random.uniform(0.3, 1.0)
    return Image.blend(smooth, image, gain)


def _equal(image: Image.Image, strength: float, random: Random) -> Image.Image:
    return Image.blend(image, ImageOps.equalize(image), random.uniform(0.0, strength))


def _blur(image: Image.Image, strength: float, random: Random) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) * random.uniform(0.0, strength)))


def _coarse(image: Image.Image, strength: float, random: Random) -> Image.Image:
    factor = 1.0 - random.uniform(0.0, strength)
    small = (max(8, round(image.width * factor)), max(8, round(image.height * factor)))
    return image.resize(small, Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.BICUBIC)


def _noise(image: Image.Image, strength: float, random: Random) -> Image.Image:
    grain = int(random.integers(1, 4))
    shape = (-(-image.height // grain), -(-image.width // grain))
    field = Image.fromarray(random.standard_normal(shape, dtype=np.float32))
    drawn = np.asarray(field.resize(image.size, Image.Resampling.BILINEAR))
    values = np.asarray(image, dtype=np.float32) + drawn * np.float32(255.0 * random.uniform(0.0, strength))
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _jpeg(image: Image.Image, strength: float, random: Random) -> Image.Image:
    if random.random() < 0.5:
        return image
    file = BytesIO()
    image.save(file, "JPEG", quality=round(random.uniform(100.0 - strength, 95.0)))
    return Image.open(file).convert("L")


def _grey(random: Random) -> int:
    """Black and white more often than anything between."""
    return (0, 255, int(random.integers(0, 256)))[random.integers(0, 3)]


def _marks(image: Image.Image, strength: float, random: Random) -> Image.Image:
    if random.random() >= strength:
        return image
    image = image.copy()
    pen = ImageDraw.Draw(image)
    width, height = image.size
    for _ in range(random.integers(1, 4)):
        along, across = random.random(), random.random() * 0.15
        place = (along, across if random.random() < 0.5 else 0.93 - across)
        x, y = place if random.random() < 0.5 else place[::-1]
        corner = (x * width, y * height)
        if random.random() < 0.7:
            text = "".join(random.choice(list(LETTERS), random.integers(1, 9)))
            pen.text(corner, text, fill=_grey(random), font_size=height * random.uniform(0.03, 0.08))
        else:
            far = (
                corner[0] + width * random.uniform(0.01, 0.1),
                corner[1] + height * random.uniform(0.01, 0.05),
            )
            pen.rectangle((corner, far), fill=_grey(random))
    return image


def _border(image: Image.Image, strength: float, random: Random) -> Image.Image:
    image, grey = image.copy(), _grey(random)
    width, height = image.size
    for side in range(4):
        if random.random() >= 0.3:
            continue
        part = random.uniform(0.0, strength)
        boxes = (
            (0.0, 0.0, width, part * height),
            (0.0, (1 - part) * height, width, height),
            (0.0, 0.0, part * width, height),
            ((1 - part) * width, 0.0, width, height),
        )
        ImageDraw.Draw(image).rectangle(boxes[side], fill=grey)
    return image


def _erase(image: Image.Image, strength: float, random: Random) -> Image.Image:
    if random.random() >= strength:
        return image
    image = image.copy()
    width, height = random.uniform(0.05, 0.32, 2) * image.size
    left, top = random.random(2) * (image.width - width, image.height - height)
    ImageDraw.Draw(image).rectangle((left, top, left + width, top + height), fill=_grey(random))
    return image


_STEPS: Mapping[str, Callable[[Image.Image, float, Random], Image.Image]] = {
    "sharpen": _sharpen,
    "equal": _equal,
    "erase": _erase,
    "border": _border,
    "marks": _marks,
    "blur": _blur,
    "coarse": _coarse,
    "noise": _noise,
    "jpeg": _jpeg,
}
"""In this order: what the machine does, what people add, what storing loses. The last is always a store."""

KEYS = frozenset({"window", *_STEPS})


def degrade(plane: Floats, strength: Mapping[str, float], random: Random) -> Floats:
    """(H, W) float32, 0 to 1, to another of the same shape, in 256 steps (the sources have no more)."""
    if not any(strength.get(key) for key in KEYS):
        return plane
    if strength.get("window"):
        plane = _window(plane, strength["window"], random)
    image = Image.fromarray(np.rint(plane * np.float32(255.0)).astype(np.uint8))
    for key, step in _STEPS.items():
        # Each is left out in half of the images: a model must know clean ones too.
        if strength.get(key) and random.random() < 0.5:
            image = step(image, strength[key], random)
    return np.asarray(image, dtype=np.float32) / np.float32(255.0)
