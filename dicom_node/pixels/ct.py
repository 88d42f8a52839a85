"""CT series: Hounsfield units, slices in order along the body, some of them sampled evenly.

Single-frame (CT Image Storage) and multi-frame objects (Enhanced, Legacy Converted) become the same slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decode import frame_count, frame_size, read_frames
from dicom_node.pixels.ground import (
    Loaded,
    Task,
    by_series,
    evenly,
    first_item,
    items,
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
    """A slice whose geometry and scale are known."""

    loaded: Loaded
    frame: int | None
    """0-based frame of a multi-frame object, None for a single-frame one."""
    orientation: tuple[int, ...] | None
    """Image Orientation (Patient) in hundredths, to compare; None where not told."""
    position: float
    """mm along the slice normal, or the instance number where no position is told."""
    size: tuple[int, int]
    slope: float
    intercept: float

    @property
    def source(self) -> SourceRef:
        """The instance, or the frame of it."""
        return self.loaded.source if self.frame is None else self.loaded.frame(self.frame + 1)


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
    unread: list[Skipped] = []
    geometries: dict[object, list[_Slice]] = {}
    for loaded in series:
        try:
            placed = _place(loaded)
        except InputError as error:
            unread.append(skipped(loaded.instance, error))
            continue
        for one in placed:
            geometries.setdefault((one.orientation, one.size), []).append(one)
    # Of equally large groups always the same one, whatever the order in which the objects came.
    groups = sorted(geometries.items(), key=lambda entry: (-len(entry[1]), repr(entry[0])))
    other = UnsupportedObjectError(
        "other-geometry", "Its size or orientation differs from most of its series."
    )
    unread += [skipped(one.loaded.instance, other) for _, group in groups[1:] for one in group]
    main = groups[0][1] if groups else []
    main.sort(
        key=lambda one: (one.position, number(one.loaded.header, "InstanceNumber") or 0.0, one.frame or 0)
    )
    return main, unread


def _place(loaded: Loaded) -> list[_Slice]:
    """The slices of one object. Raises InputError for what does not hold axial slices in HU alone."""
    header = loaded.header
    if "LOCALIZER" in texts(header, "ImageType"):
        raise UnsupportedObjectError("localizer", "It is a localiser (scout view), no axial slice.")
    if text(header, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedObjectError("not-monochrome", "It is no grey-scale image.")
    frames = frame_count(loaded)
    each = items(header, "PerFrameFunctionalGroupsSequence")
    if not each and frames == 1:
        return [_slice(loaded, None, header, header, header)]
    if len(each) != frames:
        raise UnsupportedObjectError(
            "multi-frame",
            "It holds several frames and does not tell the place of each (no functional groups).",
        )
    shared = first_item(header, "SharedFunctionalGroupsSequence") or Dataset()
    return [
        _slice(
            loaded,
            index,
            _macro(own, shared, "PlaneOrientationSequence"),
            _macro(own, shared, "PlanePositionSequence"),
            _macro(own, shared, "PixelValueTransformationSequence"),
        )
        for index, own in enumerate(each)
    ]


def _macro(own: Dataset, shared: Dataset, name: str) -> Dataset:
    """A functional group macro of one frame, else the one that all share (PS3.3 C.7.6.16), else empty."""
    return first_item(own, name) or first_item(shared, name) or Dataset()


def _slice(
    loaded: Loaded, frame: int | None, orientation: Dataset, position: Dataset, scale: Dataset
) -> _Slice:
    """One slice from the data sets that hold its attributes. Raises InputError where not axial or not HU."""
    slope, intercept = number(scale, "RescaleSlope"), number(scale, "RescaleIntercept")
    if not slope or intercept is None:
        raise UnreadableObjectError(
            "missing-rescale", "It has no Rescale Slope and Intercept: its values are not known in HU."
        )
    if text(scale, "RescaleType") not in ("", "HU", "HU_MOD"):
        raise UnsupportedObjectError("not-hounsfield", "Its values are not in Hounsfield units.")
    size = frame_size(loaded)
    axes = numbers(orientation, "ImageOrientationPatient", 6)
    corner = numbers(position, "ImagePositionPatient", 3)
    if axes is None or corner is None:
        place = number(loaded.header, "InstanceNumber") or 0.0
        return _Slice(loaded, frame, None, place, size, slope, intercept)
    normal = np.cross(axes[:3], axes[3:])
    if abs(normal[2]) < MIN_AXIAL:
        raise UnsupportedObjectError("not-axial", "It is no axial slice (a reformat or another orientation).")
    # Towards the head, whichever way the rows run.
    along = float(np.dot(normal, corner) * np.sign(normal[2]))
    return _Slice(loaded, frame, tuple(round(100 * v) for v in axes), along, size, slope, intercept)


def _read_series(slices: Sequence[_Slice], task: Task, wanted: int) -> tuple[View | None, list[Skipped]]:
    """Decode the sampled slices. None where none of them could be read."""
    chosen = [slices[index] for index in evenly(len(slices), wanted)]
    taken = set(map(id, chosen))
    error = UnsupportedObjectError("not-sampled", f"The encoder takes {wanted} slices, evenly spaced.")
    unread = [skipped(one.loaded.instance, error) for one in slices if id(one) not in taken]
    samples: dict[int, Sample] = {}
    for one, result in _decode(chosen):
        if isinstance(result, InputError):
            unread.append(skipped(one.loaded.instance, result))
            continue
        try:
            samples[id(one)] = _sample(one, result, task)
        except InputError as fault:
            unread.append(skipped(one.loaded.instance, fault))
    read_ones = [one for one in chosen if id(one) in samples]
    if not read_ones:
        return None, unread
    notes = []
    if len(chosen) < len(slices):
        notes.append(f"{len(chosen)} of {len(slices)} slices were taken, evenly spaced.")
    if len(read_ones) < len(chosen):
        notes.append(f"{len(chosen) - len(read_ones)} slices could not be read.")
    if slices[0].orientation is None:
        notes.append("No slice position was given; the slices were ordered by instance number.")
    view = View(
        modality=task.modality,
        series_uid=slices[0].loaded.instance.series_uid,
        samples=tuple(samples[id(one)] for one in read_ones),
        sources=tuple(one.source for one in read_ones),
        source_size=slices[0].size,
        notes=tuple(notes),
    )
    return view, unread


def _decode(slices: Sequence[_Slice]) -> Iterator[tuple[_Slice, NDArray[Any] | InputError]]:
    """The stored values of each slice, or what went wrong; every object is opened once."""
    objects: dict[str, list[_Slice]] = {}
    for one in slices:
        objects.setdefault(one.loaded.instance.sop_instance_uid, []).append(one)
    for group in objects.values():
        frames = read_frames(group[0].loaded, [one.frame or 0 for one in group])
        done = 0
        try:
            for one, pixels in zip(group, frames, strict=True):
                yield one, pixels
                done += 1
        except InputError as error:
            for one in group[done:]:
                yield one, error


def _sample(one: _Slice, stored: NDArray[Any], task: Task) -> Sample:
    """HU = stored * slope + intercept (PS3.3 C.11.1.1.2), through the bundle's operations."""
    hu = stored.astype(np.float32)
    hu *= np.float32(one.slope)
    hu += np.float32(one.intercept)
    np.maximum(hu, np.float32(AIR), out=hu)
    rows, columns = hu.shape
    return task.sample(Patch(hu, Box(0, 0, columns, rows)), one.source)
