"""Whole-slide images: tissue tiles at the resolution that the encoder was made for (PS3.3 A.32.8).

levels of the series -> where is tissue (lowest level) -> tiles on the level nearest in resolution
-> only the frames under those tiles are decoded
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.colour import to_srgb
from dicom_node.pixels.ground import Loaded, Task, by_series, evenly, skipped
from dicom_node.pixels.levels import Level, Region, concatenations, describe, read_regions
from dicom_node.pixels.ops import Patch, resize
from dicom_node.pixels.parameters import Resize
from dicom_node.pixels.tissue import TissueMap, find_tissue
from dicom_node.records import Box, Sample, Skipped, StudyRead, View

TOLERANCE = 1.15
"""A level may be coarser than wanted by this: scanners of one magnification differ by as much."""
COARSEST = 2.0
"""A level is enlarged by at most this; beyond it, detail that the encoder needs is not there."""
FINEST = 16.0
"""A level is reduced by at most this; beyond it, one tile would take too many frames."""
MIN_TISSUE = 0.5
"""Part of a tile that must be tissue; where no tile has so much, half of the best tile's part."""
LEAST_TISSUE = 0.05


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view per series with up to `sampling.tiles` samples of (tile, tile, 3) float32 RGB from 0 to 1 at
    `sampling.microns_per_pixel`, before the bundle's operations.

    Boxes are in the total pixel matrix of the level that was read, the first of `View.sources`.
    """
    wanted = _Wanted(task.parameter("microns_per_pixel"), task.count("tile"), task.count("tiles"))
    views: list[View] = []
    unread: list[Skipped] = []
    for series in by_series(objects).values():
        levels: list[Level] = []
        for parts in concatenations(series):
            try:
                levels.append(describe(*parts))
            except InputError as error:
                unread += [skipped(part.instance, error) for part in parts]
        if not levels:
            continue
        try:
            view = _read_slide(levels, task, wanted)
        except InputError as error:
            unread += [skipped(part.instance, error) for level in levels for _, part in level.parts]
            continue
        views.append(view)
        used = {source.sop_instance_uid for source in view.sources}
        spare = UnsupportedObjectError("other-level", "Another level of this slide was nearer in resolution.")
        unread += [
            skipped(part.instance, spare)
            for level in levels
            for _, part in level.parts
            if part.instance.sop_instance_uid not in used
        ]
    return StudyRead(tuple(views), tuple(unread))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The bundle's sampling."""

    microns: float
    tile: int
    tiles: int


def _read_slide(levels: Sequence[Level], task: Task, wanted: _Wanted) -> View:
    level = _nearest(levels, wanted.microns)
    side = max(1, round(wanted.tile * wanted.microns / level.microns))
    tissue = find_tissue(levels)
    regions, found = _choose(level, side, wanted.tiles, tissue)
    convert, told = to_srgb(level.loaded.header)
    samples: list[Sample] = []
    for region, pixels in read_regions(level, regions):
        seen = pixels if convert is None else convert(pixels)
        samples.append(_sample(region, seen, level, task, wanted.tile))
    notes = [
        f"{len(samples)} of {found} tiles with tissue were read at {level.microns:.3g} micrometres per pixel."
    ]
    if level.planes > 1:
        notes.append(
            f"Of {level.planes} focal planes or optical paths one was read: the middle one, in bright field."
        )
    if told is not None:
        notes.append(told)
    sources = [part.source for _, part in level.parts]
    if tissue.level is not level:
        sources += [part.source for _, part in tissue.level.parts]
    return View(
        modality=task.modality,
        series_uid=level.loaded.instance.series_uid,
        samples=tuple(samples),
        sources=tuple(sources),
        source_size=(level.rows, level.columns),
        notes=tuple(notes),
    )


def _nearest(levels: Sequence[Level], microns: float) -> Level:
    """The coarsest level that still holds the wanted detail, else the finest. Thumbnails do not count.

    Raises UnsupportedObjectError where that one is too coarse or too fine.
    """
    whole = sorted((level for level in levels if not level.thumbnail), key=lambda level: level.microns)
    if not whole:
        raise UnsupportedObjectError(
            "no-volume-level", "It comes with a thumbnail only, no level of the slide."
        )
    fine = [level for level in whole if level.microns <= microns * TOLERANCE]
    level = fine[-1] if fine else whole[0]
    if not microns / FINEST <= level.microns <= microns * COARSEST:
        raise UnsupportedObjectError(
            "resolution",
            f"Its nearest level has {level.microns:.3g} micrometres per pixel; wanted are {microns:.3g}.",
        )
    return level


def _choose(level: Level, side: int, tiles: int, tissue: TissueMap) -> tuple[list[Region], int]:
    """Up to `tiles` regions of (side, side) on a grid, evenly spread over the tissue; and how many had it.

    Raises UnreadableObjectError (`no-tissue`).
    """
    grid = [
        Region(left, top, side) for top in _starts(level.rows, side) for left in _starts(level.columns, side)
    ]
    parts = np.array([_part(tissue, region, level) for region in grid])
    if parts.max() < LEAST_TISSUE:
        raise UnreadableObjectError("no-tissue", "No tissue was found on the slide.")
    enough = min(MIN_TISSUE, parts.max() / 2)
    found = [region for region, part in zip(grid, parts, strict=True) if part >= enough]
    return [found[index] for index in evenly(len(found), tiles)], len(found)


def _starts(length: int, side: int) -> list[int]:
    """Starts of whole tiles, the rest shared between both ends; one tile where the slide is smaller."""
    count = length // side
    if count == 0:
        return [(length - side) // 2]
    return [(length - count * side) // 2 + index * side for index in range(count)]


def _part(tissue: TissueMap, region: Region, level: Level) -> float:
    """Mean tissue of the cells that a region touches."""
    h, w = tissue.parts.shape
    first_row = min(h - 1, max(0, int(region.top / level.rows / tissue.cell[0])))
    first_column = min(w - 1, max(0, int(region.left / level.columns / tissue.cell[1])))
    last_row = ceil((region.top + region.side) / level.rows / tissue.cell[0])
    last_column = ceil((region.left + region.side) / level.columns / tissue.cell[1])
    cells = tissue.parts[
        first_row : max(first_row + 1, last_row), first_column : max(first_column + 1, last_column)
    ]
    return float(cells.mean())


def _sample(region: Region, pixels: NDArray[np.uint8], level: Level, task: Task, tile: int) -> Sample:
    """(side, side, 3) uint8 to the encoder's tile, and through the bundle's operations."""
    values = pixels.astype(np.float32) / np.float32(255.0)
    box = Box(region.left, region.top, region.left + region.side, region.top + region.side)
    patch = resize(Patch(values, box), Resize(size=(tile, tile), mode="stretch"))
    return task.sample(patch, level.loaded.source)
