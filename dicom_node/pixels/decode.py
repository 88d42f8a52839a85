"""The one place where pixel data are decoded: single frames, never more of a file than was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import AllTransferSyntaxes

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.ground import Loaded, count, number
from dicom_node.pixels.quiet import PARSE_ERRORS, quiet

MAX_PIXELS = 1 << 26
"""Pixels of one frame, 8192 x 8192: larger than any radiograph or slice; slides are tiled."""
MAX_FRAMES = 1 << 24


def installed() -> Mapping[str, tuple[str, ...]]:
    """Transfer Syntax UIDs that this machine can decode, with the names of the decoders that can."""
    found: dict[str, tuple[str, ...]] = {}
    for uid in AllTransferSyntaxes:
        try:
            decoder = get_decoder(uid)
        except NotImplementedError:
            continue
        if decoder.is_available:
            found[str(uid)] = tuple(decoder.available_plugins) if uid.is_encapsulated else ("pydicom",)
    return found


def frame_count(loaded: Loaded) -> int:
    """Number of Frames, 1 where it is not told. Raises UnreadableObjectError where it is absurd."""
    frames = count(loaded.header, "NumberOfFrames", default=1)
    if frames > MAX_FRAMES:
        raise UnreadableObjectError("absurd-size", f"It claims to have {frames} frames.")
    return frames


def frame_size(loaded: Loaded) -> tuple[int, int]:
    """(rows, columns) of one frame. Raises UnreadableObjectError where they are missing or absurd."""
    rows, columns = count(loaded.header, "Rows"), count(loaded.header, "Columns")
    if rows * columns > MAX_PIXELS:
        raise UnreadableObjectError(
            "absurd-size", f"A frame claims {rows} x {columns} pixels; at most {MAX_PIXELS} are read."
        )
    return rows, columns


def read_frames(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The frames with these 0-based indices, in that order: (rows, columns) or (rows, columns, 3), as stored,
    save that YBR becomes RGB.

    Raises UnsupportedObjectError (`transfer-syntax`) where no decoder is installed, UnreadableObjectError
    where there are no pixels, the frame does not exist, or the data are broken.
    """
    rows, columns = frame_size(loaded)
    frames = frame_count(loaded)
    if any(not 0 <= index < frames for index in indices):
        raise UnreadableObjectError("no-such-frame", f"It has {frames} frame(s), and more were asked for.")
    samples = count(loaded.header, "SamplesPerPixel")
    shape = (rows, columns) if samples == 1 else (rows, columns, samples)
    _check_syntax(loaded)
    with quiet:
        source = iter_pixels(loaded.instance.path, indices=list(indices))
    for _ in indices:
        frame = _next(source)
        if frame.shape != shape:
            raise UnreadableObjectError(
                "broken-pixels", f"A frame decodes to {frame.shape}, but the header says {shape}."
            )
        yield frame


def read_frame(loaded: Loaded, index: int = 0) -> NDArray[Any]:
    """One frame; see `read_frames`."""
    return next(read_frames(loaded, [index]))


def unit_range(loaded: Loaded, frame: NDArray[Any]) -> NDArray[np.float32]:
    """Unsigned stored values as float32 from 0 to 1, by Bits Stored."""
    bits = number(loaded.header, "BitsStored") or number(loaded.header, "BitsAllocated") or 8
    top = np.float32(2.0 ** min(bits, 32) - 1)
    values = frame.astype(np.float32)
    values /= top
    return np.clip(values, 0.0, 1.0, out=values)


def _check_syntax(loaded: Loaded) -> None:
    uid = loaded.instance.transfer_syntax_uid
    try:
        available = get_decoder(uid).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UnsupportedObjectError(
            "transfer-syntax", f"No decoder for transfer syntax {uid} is installed here."
        )


def _next(source: Iterator[NDArray[Any]]) -> NDArray[Any]:
    """The next frame, every fault told as an InputError."""
    try:
        with quiet:
            return next(source)
    except StopIteration as error:
        raise UnreadableObjectError(
            "broken-pixels", "Its pixel data hold fewer frames than it says."
        ) from error
    except OSError as error:
        if error.errno is not None:  # the file itself; Pillow's errors about content carry no number
            raise
        raise UnreadableObjectError("broken-pixels", "Its pixel data cannot be decoded.") from error
    except PARSE_ERRORS as error:
        if isinstance(error, AttributeError) and "no pixel data" in str(error):
            raise UnreadableObjectError("no-pixel-data", "It has no pixel data.") from error
        raise UnreadableObjectError("broken-pixels", "Its pixel data cannot be decoded.") from error
