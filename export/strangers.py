"""Inputs that an encoder was not made for, to fit its scope against: drawn pictures and signals, parts and
distortions of its own images, and the images of the other modalities. Never an image of unclear licence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from dicom_node.pixels.ops import Patch
from dicom_node.records import Box
from export.strange_pictures import ANYWHERE, head_slice, limb, limb_slice, trunk
from export.strange_signals import DERIVED, DRAWN
from m3bind.data.examples import Example

Floats = NDArray[np.float32]
Random = np.random.Generator

OTHER_BODY = "another part of the body"
OTHER_KIND = "another kind of image"
PART = "a small part of an image, or a distorted one"


@dataclass(frozen=True, slots=True, eq=False)
class Stranger:
    """One input, and what people would call it."""

    kind: str
    patch: Patch


def strange_images(
    reader: str, own: Sequence[Example], others: Sequence[Example], each: int, random: Random
) -> list[Stranger]:
    """`each` of every kind for an image reader; `own` are examples of the encoder's modality, `others` of the
    rest. Twice as many of the kinds that come nearest: other bodies, and other modalities."""
    found = [
        Stranger(kind, as_read(draw(random), reader, random))
        for kind, draw in ANYWHERE.items()
        for _ in range(each)
    ]
    for draw in BODIES.get(reader, ()):
        found += [Stranger(OTHER_BODY, as_read(draw(random), reader, random)) for _ in range(each)]
    for example in _some(others, 2 * each, random):
        found.append(Stranger(OTHER_KIND, as_read(_seen(example, random), reader, random)))
    changes = DISTORTIONS.get(reader, ())
    for example in _some(own, each if changes else 0, random):
        change = changes[int(random.integers(len(changes)))]
        found.append(Stranger(PART, Patch(change(example.load().values, random))))
    return found


def strange_records(own: Sequence[Example], each: int, random: Random) -> list[Stranger]:
    """`each` of every kind for an ECG encoder."""
    found = []
    for kind, draws in DRAWN.items():
        for _ in range(each):
            rate, seconds = float(random.choice([250.0, 500.0])), random.uniform(9, 12)
            signal = draws[int(random.integers(len(draws)))](random, rate, seconds)
            found.append(Stranger(kind, Patch(signal, rate=rate, span=(0.0, seconds))))
    for kind, change in DERIVED.items():
        for example in _some(own, each, random):
            patch = example.load()
            found.append(
                Stranger(kind, Patch(change(patch.values, random), rate=patch.rate, span=patch.span))
            )
    return found


def shuffled(values: Floats, random: Random) -> Floats:
    """Cut into three by three to six by six parts, which change places."""
    parts = int(random.integers(3, 7))
    high, wide = values.shape[0] // parts, values.shape[1] // parts
    cells = [
        values[r * high : (r + 1) * high, c * wide : (c + 1) * wide]
        for r in range(parts)
        for c in range(parts)
    ]
    order = random.permutation(len(cells))
    rows = [np.concatenate([cells[order[r * parts + c]] for c in range(parts)], axis=1) for r in range(parts)]
    return np.concatenate(rows)


def zoomed(values: Floats, random: Random) -> Floats:
    """A twentieth to a tenth of the area."""
    height, width = values.shape[:2]
    part = random.uniform(0.05, 0.1) ** 0.5
    high, wide = max(8, round(height * part)), max(8, round(width * part))
    top, left = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
    return np.ascontiguousarray(values[top : top + high, left : left + wide])


def negative(values: Floats, random: Random) -> Floats:  # noqa: ARG001 # one signature for all distortions
    """Bright and dark exchanged."""
    return np.ascontiguousarray(values.max() + values.min() - values)


def smeared(values: Floats, random: Random) -> Floats:
    """Seen through fog: nothing sharper than a quarter to a tenth of the image is left."""
    small = int(random.integers(4, 11))
    planes = values[:, :, None] if values.ndim == 2 else values
    size = (values.shape[1], values.shape[0])
    out = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(planes[:, :, c])).resize((small, small)).resize(size, 3)
        )
        for c in range(planes.shape[2])
    ]
    return out[0] if values.ndim == 2 else np.stack(out, axis=2)


DISTORTIONS: Mapping[str, tuple[Callable[[Floats, Random], Floats], ...]] = {
    "radiograph": (shuffled, zoomed, smeared),
    "ct": (shuffled, zoomed, smeared),
    "retina": (shuffled, smeared),
    "slide": (negative, smeared),
}
"""By `Encoder.reader`: what leaves nothing of the organ. An image turned, or with bright and dark exchanged,
still shows it: when such were strangers, another hospital's radiographs were taken for them. The negative of
a tile stands for dark-field and fluorescence."""

BODIES: Mapping[str, tuple[Callable[[Random], Floats], ...]] = {
    "radiograph": (limb, limb, trunk),
    "ct": (head_slice, head_slice, limb_slice),
}
"""By `Encoder.reader`: rough drawings of what else that machine takes. `ct` draws in HU."""

WINDOWS = ((-500.0, 1500.0), (40.0, 80.0), (40.0, 400.0), (300.0, 2000.0), (-600.0, 1200.0))
"""Centre and width in HU that slices are looked at with: lung, brain, soft tissue, bone, lung again."""


def _some(examples: Sequence[Example], count: int, random: Random) -> list[Example]:
    if not examples:
        return []
    return [examples[i] for i in random.integers(len(examples), size=count)]


def as_read(values: Floats, reader: str, random: Random) -> Patch:
    """A picture, 0 to 1 or (from below -1) in HU, as `reader` would hand it over."""
    in_hu = float(values.min()) < -1.0
    if reader == "ct":
        if in_hu and random.random() < 0.5:
            return _patch(values)
        grey = _grey(_windowed(values, random) if in_hu else values)
        # A picture saved as CT, in whatever window its grey values are taken to have.
        center, width = WINDOWS[int(random.integers(len(WINDOWS)))]
        return _patch(np.asarray(center - width / 2 + width * grey, dtype=np.float32))
    if in_hu:
        values = _windowed(values, random)
    if reader == "radiograph":
        return _patch(_grey(values))
    colour = values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)
    if values.ndim == 2 and random.random() < 0.5:  # paper and things have a colour
        colour = colour * random.uniform(0.4, 1.0, 3).astype(np.float32)
    return _patch(np.asarray(colour, dtype=np.float32))


def _patch(values: Floats) -> Patch:
    height, width = values.shape[:2]
    return Patch(np.ascontiguousarray(values), Box(0.0, 0.0, float(width), float(height)))


def _grey(values: Floats) -> Floats:
    return values if values.ndim == 2 else np.asarray(values @ [0.299, 0.587, 0.114], dtype=np.float32)


def _windowed(values: Floats, random: Random) -> Floats:
    center, width = WINDOWS[int(random.integers(len(WINDOWS)))]
    return np.asarray(np.clip((values - center) / width + 0.5, 0, 1), dtype=np.float32)


def _seen(example: Example, random: Random) -> Floats:
    """An example of another modality as a picture; a record as it is printed."""
    values = example.load().values
    return _printed(values, random) if example.reader == "ecg" else values


def _printed(record: Floats, random: Random) -> Floats:
    """(12, T) mV drawn on squared paper: (H, W, 3), 0 to 1."""
    wide, high = 320, 240
    paper = Image.new("RGB", (wide, high), (255, 245, 245))
    pen = ImageDraw.Draw(paper)
    pitch = int(random.integers(4, 12))
    for place in range(0, wide, pitch):
        pen.line((place, 0, place, high), fill=(250, 200, 200))
        pen.line((0, place, wide, place), fill=(250, 200, 200))
    rows = int(random.choice([3, 6, 12]))
    columns = LEADS_SHOWN // rows
    for index, lead in enumerate(record):
        part = lead[: len(lead) // columns][:: max(1, len(lead) // columns // 150)]
        x = (index // rows + np.linspace(0.02, 0.98, len(part))) * wide / columns
        y = (index % rows + 0.5) * high / rows - part * high / rows * 0.3
        pen.line([(float(a), float(b)) for a, b in zip(x, y, strict=True)], fill=(20, 20, 20))
    return np.asarray(paper, dtype=np.float32) / np.float32(255)


LEADS_SHOWN = 12
