"""A small picture of an object, for people: what the readers read, without the bundle's operations.

It shows the whole frame, so that an outline in source pixels can be laid over it. A slide is shown by its
smallest level that is no stamp; a recording by three leads of its first ten seconds.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.uid import VLWholeSlideMicroscopyImageStorage

from dicom_node.errors import UnsupportedObjectError
from dicom_node.pixels import ecg, radiograph, retina
from dicom_node.pixels.colour import photometric_of, to_srgb
from dicom_node.pixels.decode import frame_count, frame_size, halvings_for, read_frame
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.ground import Loaded, Task, load_header
from dicom_node.pixels.levels import Level, Region, concatenations, describe, read_regions
from dicom_node.pixels.quiet import quiet
from dicom_node.pixels.recording import load_recording
from dicom_node.pixels.rules import ECG_CLASSES
from dicom_node.records import Instance

Bytes = NDArray[np.uint8]

SIDE = 320
"""Pixels of the longer side of a picture."""
LEAST_LEVEL = 200
"""Pixels of the longer side of a slide's level that can still be recognised."""
MOST_LEVEL = 4096
"""Pixels of the longer side of a level that is read whole: 48 MB."""
QUALITY = 85

ECG_SIZE = (160, 320)
"""(rows, columns) of the picture of a recording."""
ECG_SECONDS = 10.0
"""What it shows, from the beginning: the width of the picture."""
ECG_LEADS = (1, 6, 10)
"""II, V1, V5: rows of the reader's twelve leads."""
ECG_MILLIVOLTS = 3.0
"""Height of one lead's strip."""
PAPER, TRACE = 16, 230
"""Grey values: dark, as it stands beside images in dark rooms."""


def jpeg(
    series: Sequence[Instance], wanted: Instance, frame: int | None, decode: FrameDecoder = decode_here
) -> bytes:
    """A JPEG of `wanted`, at most SIDE pixels wide and high; `frame` is 1-based, None: the middle one.
    `series`: all objects of its series, where a slide has its levels.

    Raises InputError where there is nothing to be shown, DecoderUnavailableError, OSError where a file is
    gone.
    """
    with quiet:
        if wanted.sop_class_uid in ECG_CLASSES:
            pixels = _recording(load_recording(wanted, decode))
        elif wanted.sop_class_uid == VLWholeSlideMicroscopyImageStorage:
            pixels = _slide([load_header(one, decode) for one in series])
        else:
            pixels = _image(load_header(wanted, decode), frame)
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    written = io.BytesIO()
    picture.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _image(loaded: Loaded, frame: int | None) -> Bytes:
    """(H, W) or (H, W, 3) of one frame, as it is displayed."""
    photometric = photometric_of(loaded.header)
    index = frame_count(loaded) // 2 if frame is None else frame - 1
    # Entries of a palette have no mean.
    halvings = 0 if photometric == "PALETTE COLOR" else halvings_for(frame_size(loaded), SIDE)
    stored = read_frame(loaded, index, halvings)
    if not photometric.startswith("MONOCHROME"):
        return _to_bytes(retina.rgb(loaded, stored, photometric))
    values, _ = radiograph.display(loaded, stored)
    return _to_bytes(1.0 - values if photometric == "MONOCHROME1" else values)


def _to_bytes(values: NDArray[np.floating]) -> Bytes:
    """0 to 1 as 0 to 255; what is not finite is black."""
    return np.asarray(np.nan_to_num(np.clip(values, 0.0, 1.0)) * 255.0 + 0.5, dtype=np.uint8)


def _slide(objects: Sequence[Loaded]) -> Bytes:
    """(H, W, 3) of the whole slide."""
    levels = [describe(*parts) for parts in concatenations(objects)]
    fit = [level for level in levels if LEAST_LEVEL <= _side(level) <= MOST_LEVEL]
    if not fit:
        raise UnsupportedObjectError("no-small-level", "The slide has no level that is small enough to show.")
    level = min(fit, key=_side)
    ((_, pixels),) = read_regions(level, [Region(0, 0, _side(level))])
    seen = pixels[: level.rows, : level.columns]
    convert, _ = to_srgb(level.loaded.header)
    return seen if convert is None else convert(np.ascontiguousarray(seen))


def _side(level: Level) -> int:
    return max(level.rows, level.columns)


def _recording(loaded: Loaded) -> Bytes:
    """Three leads, one below the other, as grey traces."""
    task = Task("ecg", {"seconds": ECG_SECONDS}, lambda patch: patch)
    read = ecg.read([loaded], task)
    if not read.views:
        raise UnsupportedObjectError(read.skipped[0].reason, read.skipped[0].message)
    sample = read.views[0].samples[0]
    start, end = sample.span or (0.0, ECG_SECONDS)
    height, width = ECG_SIZE
    picture = Image.new("L", (width, height), PAPER)
    pen = ImageDraw.Draw(picture)
    strip = height / len(ECG_LEADS)
    for number, lead in enumerate(ECG_LEADS):
        signal = sample.values[lead]
        times = np.linspace(start, end, len(signal), endpoint=False) * width / ECG_SECONDS
        rows = strip * (number + 0.5 - (signal - np.median(signal)) / ECG_MILLIVOLTS)
        pen.line(list(zip(times.tolist(), rows.tolist(), strict=True)), fill=TRACE)
    return np.asarray(picture)
