"""The one place where pixel data are decoded: single frames, never more of a file than was asked for.

A transfer syntax is decoded by the first of these that knows it: imagecodecs for DCT-based JPEG (three times
faster than the others, and the only one for 12 bits), pydicom with its plugins for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options, iter_pixels
from pydicom.uid import (
    UID,
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    RLELossless,
)

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.ground import Loaded, count, number, text
from dicom_node.pixels.quiet import parsing
from dicom_node.pixels.streams import Stream, decode_jpeg, encoded_frames, inspect

MAX_PIXELS = 1 << 26
"""Pixels of one frame, 8192 x 8192: larger than any radiograph or slice; slides are tiled."""
MAX_FRAMES = 1 << 24

DCT = (
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    UID("1.2.840.10008.1.2.4.53"),  # spectral selection, retired
    UID("1.2.840.10008.1.2.4.55"),  # full progression, retired
)

TRUSTED: Mapping[UID, str] = {RLELossless: "pydicom"}
"""The plugin that alone may decode a syntax. RLE: on damaged data pylibjpeg's Rust panics, which is no
Exception and would end a worker, and imagecodecs' C reads past its buffer."""


def installed() -> Mapping[str, tuple[str, ...]]:
    """Transfer Syntax UIDs that this machine can decode, with the names of the decoders that can."""
    known = dict.fromkeys((*AllTransferSyntaxes, *DCT))
    return {str(uid): decoders for uid in known if (decoders := _decoders(uid))}


def _decoders(uid: UID) -> tuple[str, ...]:
    """The names of what decodes a transfer syntax here; none where nothing does."""
    if uid in DCT:
        return ("imagecodecs",)
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return ()
    if not decoder.is_available:
        return ()
    if uid in TRUSTED:
        return (TRUSTED[uid],)
    return tuple(decoder.available_plugins) if uid.is_encapsulated else ("pydicom",)


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
    source = _source(loaded, indices, frames, (rows, columns, samples))
    for _ in indices:
        with parsing("broken-pixels", "Its pixel data cannot be decoded."):
            frame = next(source, None)
        if frame is None:
            raise UnreadableObjectError("broken-pixels", "Its pixel data hold fewer frames than it says.")
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


def _source(
    loaded: Loaded, indices: Sequence[int], frames: int, size: tuple[int, int, int]
) -> Iterator[NDArray[Any]]:
    """The decoded frames, by the way that suits the transfer syntax. Faults are the caller's to tell."""
    uid = UID(loaded.instance.transfer_syntax_uid)
    if not _decoders(uid):
        raise UnsupportedObjectError(
            "transfer-syntax", f"No decoder for transfer syntax {uid} is installed here."
        )
    if uid == DeflatedExplicitVRLittleEndian:
        return _deflated(loaded, indices)
    return (
        _encapsulated(loaded, uid, indices, frames, size) if uid.is_encapsulated else _native(loaded, indices)
    )


def _native(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Uncompressed frames: read from their place in the file."""
    try:
        yield from iter_pixels(loaded.instance.path, indices=list(indices))
    except AttributeError:  # what pydicom raises where no pixel data element ends the data set
        raise UnreadableObjectError("no-pixel-data", "It has no pixel data.") from None


def _deflated(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The whole data set is deflated (PS3.5 A.5), so the whole must be read."""
    ds = dcmread(loaded.instance.path, force=True)
    if "PixelData" not in ds:
        raise UnreadableObjectError("no-pixel-data", "It has no pixel data.")
    yield from iter_pixels(ds, indices=list(indices))


def _encapsulated(
    loaded: Loaded, uid: UID, indices: Sequence[int], frames: int, size: tuple[int, int, int]
) -> Iterator[NDArray[Any]]:
    """Compressed frames: what each says of its size is compared with the header before it is decoded, since a
    few bytes may claim gigabytes."""
    options = as_pixel_options(loaded.header)
    with loaded.instance.path.open("rb") as file:
        for data in encoded_frames(file, indices, frames, options.pop("extended_offsets", None)):
            stream = inspect(data)
            if stream is not None and (stream.rows, stream.columns, stream.components) != size:
                raise UnreadableObjectError(
                    "broken-pixels",
                    f"A frame of {stream.rows} x {stream.columns} x {stream.components} is stored; "
                    f"the header says {' x '.join(map(str, size))}.",
                )
            yield _decode(loaded, uid, data, stream, options)


def _decode(
    loaded: Loaded, uid: UID, data: bytes, stream: Stream | None, options: dict[str, Any]
) -> NDArray[Any]:
    if uid in DCT:
        if stream is None:
            raise UnreadableObjectError("broken-pixels", "Its pixel data are no JPEG stream.")
        photometric = text(loaded.header, "PhotometricInterpretation")
        signed = number(loaded.header, "PixelRepresentation") == 1
        return decode_jpeg(data, stream, photometric, count(loaded.header, "BitsStored"), signed)
    single = {**options, "number_of_frames": 1, "pixel_keyword": "PixelData", "pixel_vr": "OB"}
    plugin = TRUSTED.get(uid, "")
    pixels, _ = get_decoder(uid).as_array(encapsulate([data]), index=0, decoding_plugin=plugin, **single)
    return pixels
