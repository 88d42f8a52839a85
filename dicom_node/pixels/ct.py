"""CT series: Hounsfield units, slices in order along the body, some of them sampled evenly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decode import frame_count, frame_size, read_frame
from dicom_node.pixels.ground import (
    Loaded,
    Task,
    by_series,
    evenly,
    number,
    numbers,
    skipped,
    text,
    texts,
)
from dicom_node.pixels.ops import Patch
from dicom_node.records import Box, Sample, Skipped, SourceRef, StudyRead, View

AIR = -1024.0
"""HU; what is stored below it is padding outside the field of view."""
MIN_AXIAL = 0.8
"""Cosine between the slice normal and the body axis: a gantry tilts by up to 30 degrees (cosine 0.87)."""


@dataclass(frozen=True, slots=True, eq=False)
class _Slice:
    """A slice whose geometry is known."""

    loaded: Loaded
    orientation: tuple[int, ...] | None
    """Image Orientation (Patient) in hundredths, to compare; None where not told."""
    position: float
    """mm along the slice normal, or the instance number where no position is told."""
    size: tuple[int, int]


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view per series with up to `sampling.slices` samples, (H, W) float32 HU before the operations.

    Localisers, slices of another size or orientation than most, and slices between those sampled are
    listed as skipped.
    """
    wanted = task.count("slices")
    views: list[View] = []
    unread: list[Skipped] = []
    for series in by_series(objects).values():
        slices, left_out = _usable(series)
        unread += left_out
        view, left_out = _read_series(slices, task, wanted)
        unread += left_out
        if view is not None:
            views.append(view)
    return StudyRead(tuple(views), tuple(unread))


def _usable(series: Sequence[Loaded]) -> tuple[list[_Slice], list[Skipped]]:
    """The slices of the commonest geometry, ordered along their normal, and what does not belong to them."""
    known: list[_Slice] = []
    unread: list[Skipped] = []
    for loaded in series:
        try:
            known.append(_place(loaded))
        except InputError as error:
            unread.append(skipped(loaded.instance, error))
    geometries: dict[object, list[_Slice]] = {}
    for one in known:
        geometries.setdefault((one.orientation, one.size), []).append(one)
    main = max(geometries.values(), key=len, default=[])
    other = UnsupportedObjectError(
        "other-geometry", "Its size or orientation differs from most of its series."
    )
    unread += [skipped(one.loaded.instance, other) for one in known if one not in main]
    main.sort(key=lambda one: (one.position, number(one.loaded.header, "InstanceNumber") or 0.0))
    return main, unread


def _place(loaded: Loaded) -> _Slice:
    """Where a slice lies. Raises InputError for what is no axial slice in HU."""
    header = loaded.header
    if "LOCALIZER" in texts(header, "ImageType"):
        raise UnsupportedObjectError("localizer", "It is a localiser (scout view), no axial slice.")
    if frame_count(loaded) > 1:
        raise UnsupportedObjectError("multi-frame", "It holds several frames; single-frame CT is read.")
    if text(header, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedObjectError("not-monochrome", "It is no grey-scale image.")
    if number(header, "RescaleSlope") is None or number(header, "RescaleIntercept") is None:
        raise UnreadableObjectError(
            "missing-rescale", "It has no Rescale Slope and Intercept: its values are not known in HU."
        )
    if text(header, "RescaleType") not in ("", "HU", "HU_MOD"):
        raise UnsupportedObjectError("not-hounsfield", "Its values are not in Hounsfield units.")
    size = frame_size(loaded)
    orientation = numbers(header, "ImageOrientationPatient", 6)
    corner = numbers(header, "ImagePositionPatient", 3)
    if orientation is None or corner is None:
        return _Slice(loaded, None, number(header, "InstanceNumber") or 0.0, size)
    normal = np.cross(orientation[:3], orientation[3:])
    if abs(normal[2]) < MIN_AXIAL:
        raise UnsupportedObjectError("not-axial", "It is no axial slice (a reformat or another orientation).")
    # Towards the head, whichever way the rows run.
    position = float(np.dot(normal, corner) * np.sign(normal[2]))
    return _Slice(loaded, tuple(round(100 * v) for v in orientation), position, size)


def _read_series(slices: Sequence[_Slice], task: Task, wanted: int) -> tuple[View | None, list[Skipped]]:
    """Decode the sampled slices. None where none of them could be read."""
    chosen = set(evenly(len(slices), wanted))
    error = UnsupportedObjectError("not-sampled", f"The encoder takes {wanted} slices, evenly spaced.")
    unread = [skipped(s.loaded.instance, error) for i, s in enumerate(slices) if i not in chosen]
    samples: list[Sample] = []
    sources: list[SourceRef] = []
    for index in sorted(chosen):
        loaded = slices[index].loaded
        try:
            samples.append(_read_slice(loaded, task))
            sources.append(loaded.source)
        except InputError as fault:
            unread.append(skipped(loaded.instance, fault))
    if not samples:
        return None, unread
    notes = []
    if len(chosen) < len(slices):
        notes.append(f"{len(chosen)} of {len(slices)} slices were taken, evenly spaced.")
    if len(samples) < len(chosen):
        notes.append(f"{len(chosen) - len(samples)} slices could not be read.")
    if slices[0].orientation is None:
        notes.append("No slice position was given; the slices were ordered by instance number.")
    view = View(
        modality=task.modality,
        series_uid=slices[0].loaded.instance.series_uid,
        samples=tuple(samples),
        sources=tuple(sources),
        source_size=slices[0].size,
        notes=tuple(notes),
    )
    return view, unread


def _read_slice(loaded: Loaded, task: Task) -> Sample:
    """HU = stored * slope + intercept (PS3.3 C.11.1.1.2)."""
    slope, intercept = number(loaded.header, "RescaleSlope"), number(loaded.header, "RescaleIntercept")
    hu = read_frame(loaded).astype(np.float32)
    hu *= np.float32(slope or 1.0)
    hu += np.float32(intercept or 0.0)
    np.maximum(hu, np.float32(AIR), out=hu)
    rows, columns = hu.shape
    return task.sample(Patch(hu, Box(0, 0, columns, rows)), loaded.source)
