"""A slide composed for demonstration: lung tissue, put together from tiles of the LC25000 set.

Five by five tiles of different originals on a margin of white: adenocarcinoma, and in one corner benign
tissue, so that the region which a finding points to can be judged by eye. The true scale of LC25000 is not
known; the scale told here is the one that the shipped bundle reads pathology at, so that its grid falls onto
the tiles. No split that anything was trained or calibrated on is used.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from PIL import Image
from sample_base import Person, code, save
from sample_slide import Equipment, Level, Slide, cut, encode, make_level, reduce

MICRONS_PER_PIXEL = 0.86
"""`sampling.microns_per_pixel` of the bundle's pathology encoder. Not measured: see above."""
REDUCTION = 4
GRID = (
    "lungaca4054 lungaca4096 lungaca4403 lungaca4934 lungaca4464",
    "lungaca26 lungaca4861 lungaca3270 lungaca1720 lungaca775",
    "lungaca3954 lungaca2726 lungn1534 lungn4035 lungn2453",
    "lungaca1237 lungaca925 lungn2405 lungn258 lungn2758",
    "lungaca3053 lungaca106 lungn3473 lungn1857 lungn2143",
)
"""Files of the val split, no two of one original. lungaca: adenocarcinoma; lungn: benign."""
SLIDE = Slide(
    key="lung-slide",
    person=Person("Demo^Histology", "M3B-DEMO-LUNG", "19620101", "O"),
    number=2,
    study="Lung histology, composed for demonstration",
    series="Composed from tiles of several patients, H&E",
    equipment=Equipment("M3Bind samples", "make_samples.py", "0", "1"),
    tile=224,  # of the source
    offset=(20.0, 40.0),  # invented
    derivation=(
        "Tiles of different pictures, of several patients, side by side on a white margin: adenocarcinoma, "
        "benign in the lower right corner; their arrangement, scale and place on the glass are invented"
    ),
    site=code("39607008", "SCT", "Lung structure"),
)


def make_lung_slide(source: Path, folder: Path) -> None:
    """Write the tiles with their JPEG data unchanged and a margin one tile wide, and a level reduced by four.

    `source` is the folder of LC25000: labels.csv and images.
    """
    names = [[f"{name}.jpg" for name in line.split()] for line in GRID]
    _check_split(source / "labels.csv", [name for line in names for name in line])
    tile = SLIDE.tile
    glass = encode(np.full((tile, tile, 3), 255, dtype=np.uint8))
    rows, columns = len(names) + 2, len(names[0]) + 2
    frames = [glass] * (rows * columns)
    whole = np.full((rows * tile, columns * tile, 3), 255, dtype=np.uint8)
    for row, line in enumerate(names, start=1):
        for column, name in enumerate(line, start=1):
            jpeg = (source / "images" / name).read_bytes()
            frames[row * columns + column] = jpeg
            with Image.open(io.BytesIO(jpeg)) as picture:
                pixels = np.asarray(picture.convert("RGB"))
            whole[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = pixels
    kind = ("DERIVED", "PRIMARY", "VOLUME", "NONE")
    level = Level(1, rows * tile, columns * tile, MICRONS_PER_PIXEL, frames, "YBR_FULL_422", kind)
    save(make_level(SLIDE, level), folder / "level-0.dcm")

    reduced = reduce(whole, REDUCTION)
    height, width = reduced.shape[:2]
    tiles = [encode(part) for part in cut(reduced, tile)]
    kind = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
    level = Level(2, height, width, MICRONS_PER_PIXEL * REDUCTION, tiles, "YBR_FULL_422", kind)
    save(make_level(SLIDE, level), folder / "level-1.dcm")


def _check_split(labels: Path, names: list[str]) -> None:
    """Stop unless every tile is of the val split, and no two are copies of one original."""
    with labels.open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    wrong = [name for name in names if rows[name]["split"] != "val"]
    if wrong:
        raise SystemExit(f"Not of the val split: {', '.join(wrong)}.")
    if len({rows[name]["group"] for name in names}) < len(names):
        raise SystemExit("Two tiles of the composed slide are of one original.")
