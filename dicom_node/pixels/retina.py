"""Colour fundus photographs (OP; SC and XC by rule of `select.py`): RGB, one view per photograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from dicom_node.errors import UnsupportedObjectError
from dicom_node.pixels.colour import photometric_of
from dicom_node.pixels.decode import frame_count, frame_size, halvings_for, read_frames, unit_range
from dicom_node.pixels.ground import Loaded, Task, read_each, text
from dicom_node.pixels.ops import Patch
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Box, StudyRead, View

MAX_PHOTOGRAPHS = 16
"""Frames of one object; more is a film, not a set of photographs."""


def read(objects: Sequence[Loaded], task: Task) -> StudyRead:
    """One view of one sample per frame, (H, W, 3) float32 RGB from 0 to 1 before the bundle's operations."""
    return read_each(objects, lambda loaded: _read_one(loaded, task))


def _read_one(loaded: Loaded, task: Task) -> list[View]:
    photometric = photometric_of(loaded.header)
    if photometric.startswith("MONOCHROME"):
        raise UnsupportedObjectError(
            "not-colour",
            "It is a grey-scale image (red-free, infrared or angiography), no colour photograph.",
        )
    frames = frame_count(loaded)
    if frames > MAX_PHOTOGRAPHS:
        raise UnsupportedObjectError("multi-frame", f"It holds {frames} frames: a film, no photograph.")
    views = []
    rows, columns = frame_size(loaded)
    # Entries of a palette have no mean.
    least = None if photometric == "PALETTE COLOR" else task.least_side
    halvings = halvings_for((rows, columns), least)
    for index, frame in enumerate(read_frames(loaded, range(frames), halvings)):
        values = rgb(loaded, frame, photometric)
        source = loaded.source if frames == 1 else loaded.frame(index + 1)
        views.append(
            View(
                modality=task.modality,
                series_uid=loaded.instance.series_uid,
                samples=(task.sample(Patch(values, Box(0, 0, columns, rows)), source),),
                sources=(source,),
                source_size=(rows, columns),
                laterality=_laterality(loaded.header),
            )
        )
    return views


def rgb(loaded: Loaded, frame: NDArray[Any], photometric: str) -> NDArray[np.float32]:
    """(H, W, 3) from 0 to 1, palettes looked up."""
    if photometric == "PALETTE COLOR":
        with parsing("bad-lookup-table", "Its palette cannot be applied."):
            looked_up = apply_color_lut(frame, loaded.header)
        top = np.float32(np.iinfo(looked_up.dtype).max)
        return np.asarray(looked_up[:, :, :3].astype(np.float32) / top, dtype=np.float32)
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise UnsupportedObjectError("not-colour", "It has no three colour channels.")
    return unit_range(loaded, frame)


def _laterality(header: Dataset) -> str | None:
    """Image Laterality (0020,0062), else Laterality (0020,0060): 'L', 'R', or 'B' for both."""
    side = text(header, "ImageLaterality") or text(header, "Laterality")
    return side if side in ("L", "R", "B") else None
