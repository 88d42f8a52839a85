"""CT series: Hounsfield units, slices in order along the body, some of them sampled evenly.

Single-frame (CT Image Storage) and multi-frame objects (Enhanced, Legacy Converted) become the same slices.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InputError, UnsupportedObjectError
from dicom_node.pixels.decode import read_frames
from dicom_node.pixels.ground import Loaded, Task, by_series, skipped
from dicom_node.pixels.lungs import LEAST, lung_share, without_lung
from dicom_node.pixels.ops import Patch
from dicom_node.pixels.outside import padding
from dicom_node.pixels.slices import (
    Slice,
    evenly_placed,
    is_secondary,
    one_per_place,
    skipped_each,
    usable_slices,
)
from dicom_node.pixels.turning import Turn, back_on_source, turn_for, turned, turned_box
from dicom_node.records import CT, Sample, Skipped, StudyRead, View

AIR = -1024.0
"""HU; what is stored below it is padding outside the field of view."""
SHORT = 100.0
"""mm; the lungs of an adult are 200 and more from top to bottom, those of a newborn 60 to 80."""


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view per series with up to `sampling.slices` samples, (H, W) float32 HU before the operations: rows
    towards the patient's left, columns towards the back, however they are stored.

    Localisers, slices of another size or orientation than most, and slices between those sampled are
    listed as skipped. A series that shows no lung is told to be strange where the task is the chest's.
    """
    wanted = task.count("slices")
    views: list[View] = []
    unread: list[Skipped] = []
    usable = [usable_slices(series) for series in by_series(objects).values()]
    primary = any(slices and not is_secondary(slices[0].loaded.header) for slices, *_ in usable)
    for found, told, left_out in usable:
        unread += left_out
        if primary and found and is_secondary(found[0].loaded.header):
            error = UnsupportedObjectError(
                "secondary-series", "It is derived from other images, which the study holds as well."
            )
            unread += skipped_each(found, error)
            continue
        slices, notes, left_out = one_per_place(found)
        unread += left_out
        if not slices:
            continue
        view, left_out = _read_series(slices, task, wanted, [*told, *notes])
        unread += left_out
        if view is not None:
            views.append(view)
    return StudyRead(tuple(views), tuple(unread))


def _read_series(
    slices: Sequence[Slice], task: Task, wanted: int, told: Sequence[str]
) -> tuple[View | None, list[Skipped]]:
    """Decode the sampled slices. None where none of them could be read."""
    chosen = [slices[index] for index in evenly_placed([one.position for one in slices], wanted)]
    taken = set(map(id, chosen))
    error = UnsupportedObjectError("not-sampled", f"The encoder takes {wanted} slices, evenly spaced.")
    unread = skipped_each([one for one in slices if id(one) not in taken], error)
    samples: dict[int, Sample] = {}
    lung = 0.0
    for one, result in _decode(chosen):
        if isinstance(result, InputError):
            unread.append(skipped(one.loaded.instance, result))
            continue
        try:
            hu = _hounsfield(one, result)
            if task.modality == CT and lung < LEAST:  # one slice with lung is enough
                lung = max(lung, lung_share(hu))
            samples[id(one)] = _sample(one, hu, task)
        except InputError as fault:
            unread.append(skipped(one.loaded.instance, fault))
    read_ones = [one for one in chosen if id(one) in samples]
    if not read_ones:
        return None, unread
    notes = list(told)
    if len(chosen) < len(slices):
        notes.append(f"{len(chosen)} of {len(slices)} slices were taken, evenly spaced.")
    if len(read_ones) < len(chosen):
        notes.append(f"{len(chosen) - len(read_ones)} slices could not be read.")
    if slices[0].orientation is None:
        notes.append("No slice position was given; the slices were ordered by instance number.")
    covered = slices[-1].position - slices[0].position
    if slices[0].orientation is not None and covered < SHORT:
        notes.append(f"Its slices cover {covered:.0f} mm of the body, no whole chest: the rest was not seen.")
    if _turn(slices[0]):
        notes.append("Slices are stored turned (prone, or flipped): they were read with the back below.")
    view = View(
        modality=task.modality,
        series_uid=slices[0].loaded.instance.series_uid,
        samples=tuple(samples[id(one)] for one in read_ones),
        sources=tuple(one.source for one in read_ones),
        source_size=slices[0].size,
        notes=tuple(notes),
        strange=without_lung(lung, len(read_ones)) if task.modality == CT else None,
    )
    return view, unread


def _decode(slices: Sequence[Slice]) -> Iterator[tuple[Slice, NDArray[Any] | InputError]]:
    """The stored values of each slice, or what went wrong; every object is opened once.

    Several objects are decoded by as many threads as there are cores, one object ahead of each.
    """
    objects: dict[str, list[Slice]] = {}
    for one in slices:
        objects.setdefault(one.loaded.instance.sop_instance_uid, []).append(one)
    groups = list(objects.values())
    threads = min(len(groups), len(os.sched_getaffinity(0)))
    if threads < 2:
        for group in groups:
            yield from _decode_object(group)
        return
    with ThreadPoolExecutor(threads) as workers:
        ahead: deque[Future[list[tuple[Slice, NDArray[Any] | InputError]]]] = deque()
        for group in groups:
            ahead.append(workers.submit(_decoded_object, group))
            if len(ahead) >= 2 * threads:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _decoded_object(group: Sequence[Slice]) -> list[tuple[Slice, NDArray[Any] | InputError]]:
    return list(_decode_object(group))


def _decode_object(group: Sequence[Slice]) -> Iterator[tuple[Slice, NDArray[Any] | InputError]]:
    """The slices of one object."""
    frames = read_frames(group[0].loaded, [one.frame or 0 for one in group])
    done = 0
    try:
        for one, pixels in zip(group, frames, strict=True):
            yield one, pixels
            done += 1
    except InputError as error:
        for one in group[done:]:
            yield one, error


def _hounsfield(one: Slice, stored: NDArray[Any]) -> NDArray[np.float32]:
    """HU = stored * slope + intercept (PS3.3 C.11.1.1.2), padding as air."""
    hu = stored.astype(np.float32)
    hu *= np.float32(one.slope)
    hu += np.float32(one.intercept)
    hu[padding(one.loaded.header, stored)] = AIR
    np.maximum(hu, np.float32(AIR), out=hu)
    return hu


def _sample(one: Slice, hu: NDArray[np.float32], task: Task) -> Sample:
    """Turned as encoders know it, through the bundle's operations."""
    turn = _turn(one)
    sample = task.sample(Patch(turned(hu, turn), turned_box(one.size, turn)), one.source)
    return back_on_source(sample, turn)


def _turn(one: Slice) -> Turn:
    """What brings a slice to the orientation that encoders know; nothing where its own is not told."""
    return Turn() if one.orientation is None else turn_for(one.orientation)
