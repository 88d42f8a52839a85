"""Objects that no encoder was made for, as a machine would send them: each a study of its own, with a header
in order and nothing in it that gives the content away. The pictures are drawn here, and by no code that a
scope was fitted with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from tests.support.pixel_objects import MDC as LEAD_CODES
from tests.support.pixel_objects import base, channel, ecg, group, photograph, put_pixels, radiograph, slide

Floats = NDArray[np.float64]
SIDE = 640
"""Rows and columns of a picture."""
AIR, BONE = -1000.0, 1000.0
"""HU between which a picture is written as a CT slice."""


def phantom(seed: int) -> Floats:
    """A test object of radiography: a step wedge, groups of line pairs, rings for low contrast, a cross."""
    random = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE), 0.15)
    picture[40:-40, 40:-40] = 0.45
    for step in range(11):
        left = 80 + 44 * step
        picture[80:150, left : left + 44] = 0.1 + 0.08 * step
    for place, pitch in enumerate((24, 16, 12, 8, 6, 4)):
        left = 90 + 80 * place
        lines = np.arange(60) % pitch < pitch / 2
        picture[220:300, left : left + 60] = np.where(lines, 0.9, 0.1)
    down, across = np.mgrid[:SIDE, :SIDE]
    for place, contrast in enumerate((0.3, 0.15, 0.08, 0.04)):
        disc = np.hypot(down - 420, across - 130 - 125 * place) < 40
        picture[disc] += contrast
    picture[540:544, 60:-60] = picture[330:-60, 318:322] = 0.95
    return np.clip(picture + random.normal(0, 0.01, picture.shape), 0, 1)


def rods(seed: int) -> Floats:
    """A test object of tomography: a water-like cylinder with rods from air to bone, and its holder."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    picture = np.zeros((SIDE, SIDE))
    picture[np.hypot(down, across) < 0.75] = 0.5
    for rod, level in enumerate((0.0, 0.4, 0.45, 0.55, 0.6, 0.75, 0.95, 1.0)):
        angle = rod * np.pi / 4
        picture[np.hypot(down - 0.5 * np.sin(angle), across - 0.5 * np.cos(angle)) < 0.08] = level
    picture[(abs(across) < 0.5) & (abs(down - 0.85) < 0.03)] = 0.55
    return np.clip(picture + random.normal(0, 0.006, picture.shape), 0, 1)


def page(seed: int) -> Floats:
    """A scanned letter: black on white."""
    random = np.random.default_rng(seed)
    paper = Image.new("L", (SIDE, SIDE), 250)
    pen, font = ImageDraw.Draw(paper), ImageFont.load_default(15)
    for line in range(26):
        words = ["".join(random.choice(list("aeinrstlmou"), random.integers(2, 9))) for _ in range(9)]
        pen.text((50, 50 + 21 * line), " ".join(words), fill=25, font=font)
    return np.asarray(paper, dtype=np.float64) / 255


def photographed(seed: int) -> Floats:
    """The letter on a desk, at a slant, in the light of a lamp."""
    random = np.random.default_rng(seed)
    letter = Image.fromarray((page(seed) * 255).astype(np.uint8))
    turned = letter.rotate(float(random.uniform(5, 20)), expand=True, fillcolor=60).resize((SIDE, SIDE))
    down, across = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j]
    light = 0.55 + 0.4 * np.exp(-((down - 0.3) ** 2 + (across - 0.6) ** 2) / 0.3)
    picture = np.asarray(turned, dtype=np.float64) / 255 * light
    return np.asarray(np.clip(picture + random.normal(0, 0.015, picture.shape), 0, 1))


def uniform(seed: int) -> Floats:
    """One grey everywhere: a flat field."""
    return np.full((SIDE, SIDE), np.random.default_rng(seed).uniform(0.2, 0.8))


def flat_field(seed: int) -> Floats:
    """One grey with the noise of a detector, falling off towards the corners."""
    random = np.random.default_rng(seed)
    down, across = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    picture = 0.6 - 0.1 * np.hypot(down, across) + random.normal(0, 0.02, (SIDE, SIDE))
    return np.asarray(np.clip(picture, 0, 1))


def noise(seed: int) -> Floats:
    """Every pixel its own."""
    return np.random.default_rng(seed).random((SIDE, SIDE))


PICTURES: Mapping[str, Callable[[int], Floats]] = {
    "phantom": phantom,
    "rods": rods,
    "page": page,
    "photographed page": photographed,
    "uniform": uniform,
    "flat field": flat_field,
    "noise": noise,
}


def as_radiograph(picture: Floats) -> list[Dataset]:
    """One CR image of 12 bits."""
    return study(radiograph((picture * 4095).astype(np.uint16), bits=12))


def as_series(pictures: Sequence[Floats]) -> list[Dataset]:
    """A CT series, a slice for each picture, 0 to 1 for AIR to BONE, 5 mm apart."""
    return series_of([AIR + (BONE - AIR) * picture for picture in pictures])


def series_of(slices: Sequence[NDArray[np.floating]]) -> list[Dataset]:
    """A CT series of slices in HU, 5 mm apart."""
    made = []
    for number, hu in enumerate(slices):
        ds = base(CTImageStorage, "CT")
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient = [0, 0, 5 * number]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing = [0.7, 0.7]
        ds.RescaleSlope, ds.RescaleIntercept = 1, -2048
        made.append(put_pixels(ds, np.rint(np.clip(hu, -2048, 2047) + 2048).astype(np.uint16), "MONOCHROME2"))
    return study(*made)


def as_fundus(picture: Floats) -> list[Dataset]:
    """One ophthalmic photograph."""
    return study(photograph(_colours(picture)))


def as_slide(picture: Floats) -> list[Dataset]:
    """One level of a slide at 0.86 micrometres per pixel, in tiles of 224 pixels, the picture four times."""
    return study(slide(np.tile(_colours(picture), (2, 2, 1)), 224, 0.86))


def as_ecg(signal: NDArray[np.integer]) -> list[Dataset]:
    """(T, 12) microvolt at 500 Hz as a 12-lead ECG."""
    channels = [channel((code, "MDC")) for code in LEAD_CODES]
    return study(ecg(group(signal.astype("<i2"), channels)))


def study(*objects: Dataset) -> list[Dataset]:
    """The objects as one series of a study that nothing else belongs to."""
    one, series = generate_uid(), generate_uid()
    for ds in objects:
        ds.StudyInstanceUID, ds.SeriesInstanceUID = one, series
    return list(objects)


def write(objects: Sequence[Dataset], folder: Path) -> str:
    """Each into a file of its own; the Study Instance UID."""
    for ds in objects:
        ds.save_as(folder / f"{ds.SOPInstanceUID}.dcm", enforce_file_format=True)
    return str(objects[0].StudyInstanceUID)


def _colours(picture: Floats) -> NDArray[np.uint8]:
    return np.repeat((picture * 255).astype(np.uint8)[:, :, None], 3, axis=2)
