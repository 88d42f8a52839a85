"""One level of a whole-slide image: its geometry, where its tiles lie, and regions of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decode import frame_count, frame_size, read_frames
from dicom_node.pixels.ground import Loaded, count, first_item, items, number, numbers, text, texts
from dicom_node.pixels.positions import raw_positions

WHITE = 255
"""What a sparse slide shows where it holds no tile."""
BATCH = 1 << 24
"""Pixels of the regions that are read at once: 48 MB."""
MAX_MATRIX = 1 << 20
"""Rows or columns of the total pixel matrix; the largest scanners reach a quarter of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """Geometry in pixels of the total pixel matrix (PS3.3 C.8.12.4)."""

    loaded: Loaded
    parts: tuple[tuple[int, Loaded], ...]
    """The objects that hold its frames, with the 0-based number of the first frame of each: several where the
    image was sent as a concatenation (PS3.3 C.7.6.16.2.2.4)."""
    rows: int
    columns: int
    tile: tuple[int, int]
    """(rows, columns) of one frame."""
    microns: float
    """Per pixel, mean of both directions."""
    placed: NDArray[np.int64] | None
    """(tiles, 3) of a sparse slide, whose tiles may overlap: row and column of the corner, and frame, all
    0-based, in order of the frames. None: all tiles, row by row."""
    first: int
    """Of a full slide: the 0-based frame that the tiles of the chosen plane begin with."""
    planes: int
    """Focal planes times optical paths, of which one is read."""
    thumbnail: bool

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across."""
        return -(-self.rows // self.tile[0]), -(-self.columns // self.tile[1])

    def under(self, top: int, left: int, bottom: int, right: int) -> Iterator[Tile]:
        """The tiles that a rectangle touches, in order of their frames."""
        height, width = self.tile
        if self.placed is not None:
            rows, columns = self.placed[:, 0], self.placed[:, 1]
            touched = (rows < bottom) & (rows + height > top) & (columns < right) & (columns + width > left)
            for row, column, frame in self.placed[touched].tolist():
                yield Tile(frame, row, column)
            return
        down, across = self.grid
        for row in range(max(top // height, 0), min((bottom - 1) // height + 1, down)):
            for column in range(max(left // width, 0), min((right - 1) // width + 1, across)):
                yield Tile(self.first + row * across + column, row * height, column * width)

    def tiles(self) -> Iterator[Tile]:
        """All of them."""
        return self.under(0, 0, self.rows, self.columns)


@dataclass(frozen=True, slots=True)
class Tile:
    """A frame and its corner in pixels of the total pixel matrix."""

    frame: int
    top: int
    left: int


@dataclass(frozen=True, slots=True)
class Region:
    """A square of the total pixel matrix; may reach beyond it."""

    left: int
    top: int
    side: int


def concatenations(series: Sequence[Loaded]) -> list[list[Loaded]]:
    """The objects of a series, each alone, but the parts of one concatenation together and in order."""
    joined: dict[str, list[Loaded]] = {}
    for loaded in series:
        key = text(loaded.header, "ConcatenationUID") or loaded.instance.sop_instance_uid
        joined.setdefault(key, []).append(loaded)
    return [sorted(parts, key=_offset) for parts in joined.values()]


def _offset(loaded: Loaded) -> float:
    """Concatenation Frame Offset Number (0020,9228), 0 where it is no part of a concatenation."""
    return number(loaded.header, "ConcatenationFrameOffsetNumber") or 0.0


def _parts(objects: Sequence[Loaded]) -> tuple[tuple[int, Loaded], ...]:
    """Each object with its first frame. Raises UnreadableObjectError where parts are missing or overlap."""
    if len(objects) == 1 and "ConcatenationUID" not in objects[0].header:
        return ((0, objects[0]),)
    total = number(objects[0].header, "InConcatenationTotalNumber")
    first, placed = 0, []
    for loaded in objects:
        if _offset(loaded) != first:
            raise UnreadableObjectError("concatenation", "Parts of the image are missing or come twice.")
        placed.append((first, loaded))
        first += frame_count(loaded)
    if total is not None and total != len(objects):
        raise UnreadableObjectError(
            "concatenation", f"It was sent in {total:g} parts, and {len(objects)} are here."
        )
    return tuple(placed)


def read_level(level: Level, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The frames of a level with these ascending 0-based numbers, whichever object holds them."""
    ends = [first for first, _ in level.parts[1:]] + [sys.maxsize]
    for (first, loaded), end in zip(level.parts, ends, strict=True):
        own = [index - first for index in indices if first <= index < end]
        if own:
            yield from read_frames(loaded, own)


def describe(*objects: Loaded) -> Level:
    """The geometry of one image, which is one object or the parts of a concatenation, in order.

    Raises InputError for labels, other colours and what cannot be placed.
    """
    loaded = objects[0]
    header = loaded.header
    kind = texts(header, "ImageType")
    flavour = kind[2] if len(kind) > 2 else ""
    if flavour in ("LABEL", "OVERVIEW"):
        # Never decoded: a label shows the patient's name.
        raise UnsupportedObjectError("label-or-overview", "It shows the label or the whole glass, no tissue.")
    if flavour not in ("VOLUME", "THUMBNAIL"):
        raise UnsupportedObjectError("image-type", "Its Image Type does not say VOLUME or THUMBNAIL.")
    if text(header, "PhotometricInterpretation").startswith("MONOCHROME"):
        raise UnsupportedObjectError("not-colour", "It is a grey-scale (fluorescence) slide.")
    if number(header, "BitsAllocated") != 8:
        raise UnsupportedObjectError("bit-depth", "Slides of 8 bits per channel are read.")
    rows, columns = count(header, "TotalPixelMatrixRows"), count(header, "TotalPixelMatrixColumns")
    if max(rows, columns) > MAX_MATRIX:
        raise UnreadableObjectError("absurd-size", f"It claims a matrix of {rows} x {columns} pixels.")
    tile = frame_size(loaded)
    parts = _parts(objects)
    held = sum(frame_count(part) for part in objects)
    focal, paths = count(header, "TotalPixelMatrixFocalPlanes", 1), count(header, "NumberOfOpticalPaths", 1)
    placed: NDArray[np.int64] | None = None
    first_frame = 0
    if text(header, "DimensionOrganizationType") == "TILED_FULL":
        needed = -(-rows // tile[0]) * -(-columns // tile[1])
        if held < needed:
            raise UnreadableObjectError("missing-tiles", f"It should hold {needed} tiles, and holds {held}.")
        # Tiles come row by row, focal planes from the glass upwards, optical paths last (PS3.3 C.7.6.17.3).
        chosen = _bright(header, paths) * focal + focal // 2
        first_frame = needed * chosen if held >= needed * focal * paths else 0
    else:
        placed = _sparse(parts, middle=paths == 1)
    thumbnail = flavour == "THUMBNAIL"
    planes = focal * paths
    return Level(loaded, parts, rows, columns, tile, _microns(header), placed, first_frame, planes, thumbnail)


_BRIGHTFIELD = "111744"
"""Brightfield illumination, of CID 8123 Microscopy Illumination Method, in DCM."""


def _bright(header: Dataset, paths: int) -> int:
    """The 0-based optical path that is read: the first of brightfield, which encoders of stained tissue know,
    else the first."""
    for index, path in enumerate(items(header, "OpticalPathSequence")[:paths]):
        codes = items(path, "IlluminationTypeCodeSequence")
        if any(text(code, "CodeValue") == _BRIGHTFIELD for code in codes):
            return index
    return 0


def _microns(header: Dataset) -> float:
    """Micrometres per pixel by Pixel Spacing, shared or of the first frame."""
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        group = first_item(header, groups)
        measures = None if group is None else first_item(group, "PixelMeasuresSequence")
        spacing = None if measures is None else numbers(measures, "PixelSpacing", 2)
        if spacing is not None and min(spacing) > 0:
            return 1000.0 * (spacing[0] + spacing[1]) / 2
    raise UnreadableObjectError("missing-spacing", "It has no Pixel Spacing: its resolution is not known.")


def _sparse(parts: Sequence[tuple[int, Loaded]], *, middle: bool) -> NDArray[np.int64]:
    """`Level.placed` of TILED_SPARSE. Where tiles overlap, a later frame is laid over an earlier one: the
    order in which they were written is the only one that the object has.

    Of several frames at the very same place, which are focal planes, the `middle` one is taken: scanners
    focus there, and step up and down from it. Where they are optical paths, too, it is the first.
    """
    corners = np.concatenate([_corners(part) for _, part in parts])
    order = np.lexsort((corners[:, 1], corners[:, 0]))  # stable: frames of one place stay in order
    new = np.any(np.diff(corners[order], axis=0, prepend=-1) != 0, axis=1)
    starts = np.flatnonzero(new)
    held = np.diff(starts, append=len(order))
    frames = np.sort(order[starts + (held // 2 if middle else 0)])
    return np.column_stack((corners[frames], frames))


def _corners(loaded: Loaded) -> NDArray[np.int64]:
    """(frames, 2) row and column of the corner of each frame, 0-based, from its Plane Position (Slide) (PS3.3
    C.8.12.6.1). A single frame without a position covers the matrix from its corner."""
    total = frame_count(loaded)
    corners = raw_positions(loaded)
    if corners is None:
        frames = items(loaded.header, "PerFrameFunctionalGroupsSequence")
        if not frames and total == 1:
            return np.zeros((1, 2), dtype=np.int64)
        corners = np.array([_corner(group) for group in frames], dtype=np.int64).reshape(-1, 2)
    if len(corners) != total:
        raise UnreadableObjectError("missing-positions", "It does not tell the place of each of its tiles.")
    if int(corners.min()) < 1:
        raise UnreadableObjectError("missing-positions", "A tile lies outside of its matrix.")
    return np.asarray(corners - 1)


def _corner(group: Dataset) -> tuple[int, int]:
    """Row and column of a frame's corner, 1-based, by its functional group."""
    position = first_item(group, "PlanePositionSlideSequence")
    if position is None:
        raise UnreadableObjectError("missing-positions", "It does not tell the place of each of its tiles.")
    return (
        count(position, "RowPositionInTotalImagePixelMatrix"),
        count(position, "ColumnPositionInTotalImagePixelMatrix"),
    )


def read_regions(level: Level, regions: Sequence[Region]) -> Iterator[tuple[Region, NDArray[np.uint8]]]:
    """Each region with its (side, side, 3) uint8 RGB pixels, white where the slide has none.

    Some regions at a time, as many as BATCH pixels hold, so that memory does not grow with their number.
    Every frame is decoded once for those, whatever their number above it.
    """
    start = 0
    while start < len(regions):
        end, pixels = start, 0
        while end < len(regions) and (end == start or pixels + regions[end].side ** 2 <= BATCH):
            pixels += regions[end].side ** 2
            end += 1
        yield from _read_batch(level, regions[start:end])
        start = end


def _read_batch(level: Level, regions: Sequence[Region]) -> Iterator[tuple[Region, NDArray[np.uint8]]]:
    under: dict[int, list[tuple[int, Tile]]] = {}
    for number_, r in enumerate(regions):
        for tile in level.under(r.top, r.left, r.top + r.side, r.left + r.side):
            under.setdefault(tile.frame, []).append((number_, tile))
    canvases = [np.full((r.side, r.side, 3), WHITE, dtype=np.uint8) for r in regions]
    needed = sorted(under)
    for frame, pixels in zip(needed, read_level(level, needed), strict=True):
        if pixels.ndim != 3 or pixels.dtype != np.uint8:
            raise UnsupportedObjectError("not-colour", "Its tiles are not RGB of 8 bits.")
        for number_, tile in under[frame]:
            _paste(canvases[number_], regions[number_], pixels, level, tile)
    return zip(regions, canvases, strict=True)


def _paste(
    canvas: NDArray[np.uint8], region: Region, pixels: NDArray[np.uint8], level: Level, tile: Tile
) -> None:
    """Copy what a tile and a region have in common, without the filling beyond the matrix's edge."""
    top, left = tile.top, tile.left
    y0, y1 = max(top, region.top), min(top + level.tile[0], region.top + region.side, level.rows)
    x0, x1 = max(left, region.left), min(left + level.tile[1], region.left + region.side, level.columns)
    if y0 < y1 and x0 < x1:
        canvas[y0 - region.top : y1 - region.top, x0 - region.left : x1 - region.left] = pixels[
            y0 - top : y1 - top, x0 - left : x1 - left
        ]
