"""Frames from files: single ones, never more of a file, and no more of a frame, than was asked for.

Compressed frames go to `Loaded.decode`, see `decoders/registry.py`; others are read from their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.pixels.utils import iter_pixels
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decoders.coded import Coded, halved, shrink
from dicom_node.pixels.decoders.registry import DECODERS, DecoderUnavailableError, names_of
from dicom_node.pixels.ground import Loaded, count, inflate, number, text
from dicom_node.pixels.quiet import parsing
from dicom_node.pixels.streams import encoded_frames, inspect, native_frames, stored_values

MAX_PIXELS = 1 << 26
"""Pixels of one frame, 8192 x 8192: larger than any radiograph or slice; slides are tiled."""
MAX_FRAMES = 1 << 24
MAX_HALVINGS = 5
"""Of a frame: as many as encoders of DICOM images commonly allow."""


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


def halvings_for(size: tuple[int, int], least: int | None) -> int:
    """How often a frame of (rows, columns) can be halved so that its shorter side keeps `least` pixels; 0
    where `least` is None."""
    if least is None:
        return 0
    halvings = 0
    while min(halved(size, halvings + 1)) >= least and halvings < MAX_HALVINGS:
        halvings += 1
    return halvings


def read_frames(loaded: Loaded, indices: Sequence[int], halvings: int = 0) -> Iterator[NDArray[Any]]:
    """The frames with these 0-based indices, in that order: (rows, columns) or (rows, columns, 3), as stored,
    save that YBR becomes RGB; at 1/2^halvings of their size, rounded up.

    Raises UnsupportedObjectError (`transfer-syntax`) where no decoder is installed, UnreadableObjectError
    where there are no pixels, the frame does not exist, or the data are broken; DecoderUnavailableError where
    it is this machine that cannot.
    """
    rows, columns = frame_size(loaded)
    frames = frame_count(loaded)
    if any(not 0 <= index < frames for index in indices):
        raise UnreadableObjectError("no-such-frame", f"It has {frames} frame(s), and more were asked for.")
    samples = count(loaded.header, "SamplesPerPixel")
    small = halved((rows, columns), halvings)
    shape = small if samples == 1 else (*small, samples)
    source = _source(loaded, indices, frames, (rows, columns, samples), halvings)
    for _ in indices:
        with parsing("broken-pixels", "Its pixel data cannot be decoded."):
            try:
                frame = next(source, None)
            except MemoryError:
                raise DecoderUnavailableError(
                    "No memory is left to decode a frame: give the node more, or fewer workers."
                ) from None
        if frame is None:
            raise UnreadableObjectError("broken-pixels", "Its pixel data hold fewer frames than it says.")
        if frame.shape != shape:
            raise UnreadableObjectError(
                "broken-pixels", f"A frame decodes to {frame.shape}, but the header says {shape}."
            )
        yield frame


def read_frame(loaded: Loaded, index: int = 0, halvings: int = 0) -> NDArray[Any]:
    """One frame; see `read_frames`."""
    return next(read_frames(loaded, [index], halvings))


def unit_range(loaded: Loaded, frame: NDArray[Any]) -> NDArray[np.float32]:
    """Unsigned stored values as float32 from 0 to 1, by Bits Stored."""
    bits = number(loaded.header, "BitsStored") or number(loaded.header, "BitsAllocated") or 8
    top = np.float32(2.0 ** min(bits, 32) - 1)
    values = frame.astype(np.float32)
    values /= top
    return np.clip(values, 0.0, 1.0, out=values)


def _source(
    loaded: Loaded, indices: Sequence[int], frames: int, size: tuple[int, int, int], halvings: int
) -> Iterator[NDArray[Any]]:
    """The decoded frames, by the way that suits the transfer syntax. Faults are the caller's to tell."""
    uid = UID(loaded.instance.transfer_syntax_uid)
    if not names_of(str(uid)):
        raise UnsupportedObjectError(
            "transfer-syntax", f"No decoder for transfer syntax {uid} is installed here."
        )
    if uid in DECODERS or uid.is_encapsulated:
        return _encapsulated(loaded, uid, indices, frames, size, halvings)
    return (shrink(frame, halvings) for frame in _native(loaded, indices))


def _native(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Uncompressed frames: read from their place in the file."""
    plain = native_frames(loaded, indices)
    if plain is not None:
        yield from plain
        return
    if loaded.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        yield from _deflated(loaded, indices)
        return
    try:
        yield from iter_pixels(loaded.instance.path, indices=list(indices))
    except AttributeError:  # what pydicom raises where no pixel data element ends the data set
        raise UnreadableObjectError("no-pixel-data", "It has no pixel data.") from None


def _deflated(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """The whole data set is deflated (PS3.5 A.5), so the whole must be read."""
    ds = read_dataset(inflate(loaded.instance), is_implicit_VR=False, is_little_endian=True)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    if "PixelData" not in ds:
        raise UnreadableObjectError("no-pixel-data", "It has no pixel data.")
    yield from iter_pixels(ds, indices=list(indices))


def _encapsulated(
    loaded: Loaded, uid: UID, indices: Sequence[int], frames: int, size: tuple[int, int, int], halvings: int
) -> Iterator[NDArray[Any]]:
    """Compressed frames: what each says of its size is compared with the header before it is decoded, since a
    few bytes may claim gigabytes."""
    header, offsets = loaded.header, None
    if "ExtendedOffsetTable" in header and "ExtendedOffsetTableLengths" in header:
        offsets = (header.ExtendedOffsetTable, header.ExtendedOffsetTableLengths)
    allocated = count(header, "BitsAllocated")
    stored, signed = (
        count(header, "BitsStored", default=allocated),
        number(header, "PixelRepresentation") == 1,
    )
    highest = int(number(header, "HighBit") or stored - 1)
    for encoded in encoded_frames(loaded, indices, frames, offsets):
        stream = inspect(encoded.data)
        if stream is not None and (stream.rows, stream.columns, stream.components) != size:
            raise UnreadableObjectError(
                "broken-pixels",
                f"A frame of {stream.rows} x {stream.columns} x {stream.components} is stored; "
                f"the header says {' x '.join(map(str, size))}.",
            )
        # A stream of more bits than are stored holds whole words (PS3.5 8.1.1): the value is cut out of them.
        wide = size[2] == 1 and stored < (allocated if stream is None else stream.precision)
        words = wide and (highest != stored - 1 or (signed and stream is not None and not stream.signed))
        coded = Coded(
            data=encoded.data,
            transfer_syntax=str(uid),
            rows=size[0],
            columns=size[1],
            samples=size[2],
            bits_allocated=allocated,
            bits_stored=allocated if words else stored,
            signed=signed and not words,
            photometric=text(header, "PhotometricInterpretation"),
            planar=int(number(header, "PlanarConfiguration") or 0),
            stream=stream,
            place=encoded.place,
        )
        if not words:
            yield loaded.decode(coded, halvings)
            continue
        whole = loaded.decode(coded, 0)
        yield shrink(stored_values(whole, stored, highest, signed=signed), halvings)
