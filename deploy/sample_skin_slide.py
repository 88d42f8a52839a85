"""For the tests, a slide of a tissue that the bundle was not made for: a region of OpenSlide's CMU-1."""

from __future__ import annotations

from pathlib import Path

import tifffile
from sample_base import Person, save
from sample_slide import Equipment, Level, Slide, cut, encode, make_level, reduce

MICRONS_PER_PIXEL = 0.499  # "MPP" of the source
REDUCTION = 4
SLIDE = Slide(
    key="pathology",
    person=Person("Demo^Slide", "M3B-DEMO-PATHOLOGY", "19550101", "O"),
    number=1,
    study="Whole-slide image",
    series="Skin, H&E",
    equipment=Equipment("Aperio", "ScanScope", "CPAPERIOCS", "Aperio Image Library v11.2.1"),
    tile=240,  # of the source
    # "Left" and "Top", and the region's offset, of the source's description.
    offset=(25.691574 + 42673 * MICRONS_PER_PIXEL / 1000, 23.449873 + 5576 * MICRONS_PER_PIXEL / 1000),
)

# APP14 "Adobe", transform 0: the three components are red, green and blue. Readers that do not look at the
# DICOM photometric interpretation would otherwise take them for YCbCr.
ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def make_skin_slide(source: Path, folder: Path) -> None:
    """Write the full resolution with the scanner's own JPEG tiles, and a level reduced by four."""
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[0]
        if (
            not isinstance(page, tifffile.TiffPage)
            or page.tile != (SLIDE.tile, SLIDE.tile)
            or page.photometric != tifffile.PHOTOMETRIC.RGB
        ):
            raise SystemExit(f"{source.name} is not the slide this was written for")
        whole = page.asarray()
        tables = bytes(page.jpegtables or b"")
        frames = [
            _join(tables, tiff.filehandle.read(count))
            for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            if tiff.filehandle.seek(offset) == offset
        ]
    height, width = whole.shape[:2]
    kind = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    level = Level(1, height, width, MICRONS_PER_PIXEL, frames, "RGB", kind)
    save(make_level(SLIDE, level), folder / "level-0.dcm")

    reduced = reduce(whole, REDUCTION)
    height, width = reduced.shape[:2]
    tiles = [encode(tile) for tile in cut(reduced, SLIDE.tile)]
    kind = ("DERIVED", "PRIMARY", "VOLUME", "RESAMPLED")
    level = Level(2, height, width, MICRONS_PER_PIXEL * REDUCTION, tiles, "YBR_FULL_422", kind)
    save(make_level(SLIDE, level), folder / "level-1.dcm")


def _join(tables: bytes, tile: bytes) -> bytes:
    """An abbreviated JPEG stream of a TIFF and its tables as one complete stream that says it is RGB."""
    return b"\xff\xd8" + ADOBE_RGB + tables[2:-2] + tile[2:]
