"""Projection radiographs (CR, DX): display-ready grey values, one view per image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut, apply_voi
from pydicom.uid import DigitalXRayImageStorageForProcessing

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.borders import inside_borders, outside_of
from dicom_node.pixels.colour import photometric_of
from dicom_node.pixels.decode import frame_count, frame_size, halvings_for, read_frame, unit_range
from dicom_node.pixels.ground import Loaded, Task, first_item, items, number, numbers, read_each, text
from dicom_node.pixels.ops import Patch
from dicom_node.pixels.outside import outside
from dicom_node.pixels.projection import Kind, projection
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Box, StudyRead, View

Floats = NDArray[np.float32]

MOST_HIDDEN = 0.9
"""Part of a radiograph; a description that hides more is wrong."""


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view of one sample per instance, (H, W) float32 from 0 to 1 before the bundle's operations.

    The encoders know frontal views only: another one is refused (`lateral-view`, `oblique-view`), and where
    nothing tells the view, that is noted.
    """
    return read_each(objects, lambda loaded: [_read_one(loaded, task)])


def _read_one(loaded: Loaded, task: Task) -> View:
    header = loaded.header
    photometric = photometric_of(header)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedObjectError(
            "not-monochrome",
            "It is no grey-scale image: its photometric interpretation is not MONOCHROME1 or 2.",
        )
    if frame_count(loaded) > 1:
        raise UnsupportedObjectError("multi-frame", "It holds several frames; one radiograph is one frame.")
    position, doubts = _frontal(header)
    size = frame_size(loaded)
    stored = read_frame(loaded, halvings=halvings_for(size, task.least_side))
    hidden = outside(header, stored, size)
    told: tuple[str, ...] = ()
    if hidden.mean() > MOST_HIDDEN:
        hidden = np.zeros_like(hidden)
        told = ("Padding, shutter or collimator would hide nearly all of it, and was ignored.",)
    frame = outside_of(inside_borders(stored, ~hidden), stored.shape) & ~hidden
    values, notes = display(loaded, stored, hidden | frame)
    if photometric == "MONOCHROME1":
        np.subtract(1.0, values, out=values)
    if hidden.any():
        values[hidden] = 0.0
        notes += ("Padding, or what a shutter or collimator hides, was made black.",)
    if frame.any():
        values[frame] = 0.0
        notes += (f"A border was burned in and was made black: {100 * frame.mean():.2g} % of the image.",)
    notes += told + doubts
    rows, columns = size
    sample = task.sample(Patch(values, Box(0, 0, columns, rows)), loaded.source)
    return View(
        modality=task.modality,
        series_uid=loaded.instance.series_uid,
        samples=(sample,),
        sources=(loaded.source,),
        source_size=(rows, columns),
        laterality=_laterality(header),
        view_position=position,
        notes=notes,
    )


def display(
    loaded: Loaded, stored: NDArray[Any], hidden: NDArray[np.bool_] | None = None
) -> tuple[Floats, tuple[str, ...]]:
    """(H, W) float32 from 0 to 1: stored values through modality and VOI transformation (PS3.3 C.11.1,
    C.11.2); and what was assumed. The first of several windows or tables counts, as for display.

    Without a VOI transformation, 8-bit values keep their full range, deeper ones are stretched from their
    least to their greatest value among those that are not `hidden` (H, W).
    """
    header = loaded.header
    if loaded.instance.sop_class_uid == DigitalXRayImageStorageForProcessing:
        return _unprocessed(header, stored, hidden)
    with parsing("bad-lookup-table", "Its modality or VOI lookup table cannot be applied."):
        table = first_item(header, "VOILUTSequence")
        if table is not None:
            return _through_table(header, table, stored)
        modality = np.asarray(apply_modality_lut(stored, header), dtype=np.float32)
    center, width = number(header, "WindowCenter"), number(header, "WindowWidth")
    if center is not None and width is not None and width > 0:
        return window(modality, center, width, text(header, "VOILUTFunction") or "LINEAR"), ()
    if number(header, "BitsStored") == 8 and not items(header, "ModalityLUTSequence"):
        full = unit_range(loaded, stored)
        return (full if (number(header, "RescaleSlope") or 1.0) > 0 else np.float32(1.0) - full), ()
    return _stretched(modality, hidden), (
        "No window was given; grey values were stretched from the least to the greatest.",
    )


def _unprocessed(
    header: Dataset, stored: NDArray[Any], hidden: NDArray[np.bool_] | None
) -> tuple[Floats, tuple[str, ...]]:
    """A radiograph for processing, whose scale is the detector's: stretched; its logarithm where it is linear
    in the X-ray intensity. Where the photometric interpretation would show bone black against what Pixel
    Intensity Relationship Sign says of the values, the sign is believed (PS3.3 C.8.11.3.1.2)."""
    raw = np.asarray(stored, dtype=np.float32)
    if text(header, "PixelIntensityRelationship").upper() == "LIN":
        raw = np.log1p(raw - raw.min())
    values = _stretched(raw, hidden)
    told = "It is a radiograph for processing: grey values were stretched, without the maker's processing."
    bone_is_low = {1.0: True, -1.0: False}.get(number(header, "PixelIntensityRelationshipSign") or 0.0)
    if bone_is_low is None or bone_is_low == (photometric_of(header) == "MONOCHROME1"):
        return values, (told,)
    return np.float32(1.0) - values, (
        told,
        "Its photometric interpretation and Pixel Intensity Relationship Sign disagree; bone was made white.",
    )


def _stretched(values: Floats, hidden: NDArray[np.bool_] | None) -> Floats:
    """Least to greatest value, of those that are seen, to 0..1."""
    seen = values if hidden is None or hidden.all() else values[~hidden]
    low, high = float(seen.min()), float(seen.max())
    scaled = (values - np.float32(low)) / np.float32(max(high - low, 1e-6))
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _through_table(header: Dataset, table: Dataset, stored: NDArray[Any]) -> tuple[Floats, tuple[str, ...]]:
    """VOI LUT (PS3.3 C.11.2.1.1), scaled by the greatest value of the bits that the table says it has; by its
    greatest entry, which is told, where that needs other bits."""
    rescaled = apply_modality_lut(stored, header)
    if not np.issubdtype(rescaled.dtype, np.integer):
        rescaled = np.rint(rescaled).astype(np.int32)
    descriptor = numbers(table, "LUTDescriptor", 3)
    if descriptor is None:
        raise UnreadableObjectError("bad-lookup-table", "Its VOI lookup table has no descriptor.")
    first, entries = int(descriptor[1]), int(descriptor[0]) or 1 << 16
    greatest = max(1.0, float(np.max(apply_voi(np.arange(first, first + entries), header))))
    top, notes = 2.0 ** min(descriptor[2], 16.0) - 1, list[str]()
    if not top / 2 < greatest <= top:
        top = greatest
        notes.append("Its VOI lookup table was scaled by its greatest entry: its bits do not fit.")
    return np.asarray(apply_voi(rescaled, header) / np.float32(top), dtype=np.float32), tuple(notes)


def window(values: Floats, center: float, width: float, function: str) -> Floats:
    """LINEAR, LINEAR_EXACT or SIGMOID (PS3.3 C.11.2.1.2 and C.11.2.1.3), to 0..1.

    Raises UnreadableObjectError for another function.
    """
    if function == "SIGMOID":
        return np.asarray(1.0 / (1.0 + np.exp(-4.0 * (values - center) / width)), dtype=np.float32)
    if function == "LINEAR" and width > 1:
        center, width = center - 0.5, width - 1
    elif function == "LINEAR":  # a width of 1 is a threshold
        return (values > center - 0.5).astype(np.float32)
    elif function != "LINEAR_EXACT":
        raise UnreadableObjectError("bad-attribute", "Its VOI LUT Function is none of the standard.")
    scaled = (values - np.float32(center)) * np.float32(1.0 / width) + np.float32(0.5)
    return np.clip(scaled, 0.0, 1.0, out=scaled)


def _frontal(header: Dataset) -> tuple[str | None, tuple[str, ...]]:
    """The view position, and what is to be told of it.

    Raises UnsupportedObjectError (`lateral-view`, `oblique-view`) for another view than a frontal one.
    """
    seen = projection(header)
    if seen.kind is None:
        return None, ("Its view (frontal or lateral) is not told: it was read as a frontal one.",)
    if seen.kind is not Kind.FRONTAL:
        raise UnsupportedObjectError(
            f"{seen.kind}-view",
            f"It is a view from {_SIDE[seen.kind]} by {seen.told_by}; "
            "only frontal radiographs (PA, AP) can be judged.",
        )
    doubts = f"It is frontal by {seen.told_by}, though not by {' and '.join(seen.against)}."
    return seen.position, (doubts,) if seen.against else ()


_SIDE = {Kind.LATERAL: "the side", Kind.OBLIQUE: "an oblique angle"}


def _laterality(header: Dataset) -> str | None:
    """Image Laterality (0020,0062), else Laterality (0020,0060)."""
    side = text(header, "ImageLaterality") or text(header, "Laterality")
    return side if side in ("L", "R", "B") else None
