"""Where compressed frames lie in a file, and what they say of themselves before they are decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.decoders.coded import Place, Stream
from dicom_node.pixels.fragments import Parts, frame_places, parts_of
from dicom_node.pixels.ground import FIRST_PIXELS, Loaded, count, inflate, number, text

_PIXELS = 0x7FE00010
_NATIVE = frozenset(
    {ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian}
)
_START, _SIZES = b"\xff\xd8", b"\xff\x4f\xff\x51"
"""SOI of all JPEG; SOC and SIZ of JPEG 2000."""
_NO_FRAME = frozenset((0xC4, 0xC8, 0xCC))
"""Markers between C0 and CF that are no start of frame: DHT, JPG, DAC (ISO 10918-1 table B.1)."""
_JPEG_LS = 0xF7
_UNDEFINED = 0xFFFFFFFF
"""The length of encapsulated Pixel Data (PS3.5 A.4)."""
HEAD = 1 << 16
"""Bytes in which a stream tells its size, as a rule; frames that are no larger are read at once."""
MAX_PARTS = 256
"""Fragments of a frame that is told by its place: a list of millions would be no help."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One encoded frame."""

    data: bytes
    """All of it; its first HEAD bytes, or more, where `place` is told."""
    place: Place | None


def encoded_frames(
    loaded: Loaded, indices: Sequence[int], frames: int, offsets: tuple[bytes, bytes] | None
) -> Iterator[Encoded]:
    """The encoded frames with these 0-based indices; `offsets` is the Extended Offset Table, where there is
    one. Raises UnreadableObjectError (`no-pixel-data`)."""
    path = loaded.instance.path.absolute()
    with path.open("rb") as file:
        start = _value_of_pixels(file, loaded.pixels_at)
        places = frame_places(file, start, frames, offsets)
        for index in indices:
            if places is None:
                file.seek(start)
                yield Encoded(get_frame(file, index, number_of_frames=frames, extended_offsets=offsets), None)
            else:
                yield _encoded(file, path, parts_of(file, *places(index)))


def _encoded(file: BinaryIO, path: Path, parts: Parts) -> Encoded:
    """A large frame of few parts by its place: who decodes it reads it. Any other as it is."""
    if sum(length for _, length in parts) <= HEAD or len(parts) > MAX_PARTS:
        return Encoded(b"".join(_values(file, parts)), None)
    place = Place(path, tuple(parts))
    head = b""
    for offset, length in parts:
        head += next(_values(file, [(offset, min(length, HEAD - len(head)))]))
        if len(head) >= HEAD:
            break
    if head[:2] == _START and inspect(head) is None:  # long markers stand before its size
        return Encoded(place.read(), None)
    return Encoded(head, place)


def _values(file: BinaryIO, parts: Parts) -> Iterator[bytes]:
    for offset, length in parts:
        file.seek(offset)
        yield file.read(length)


def native_frames(loaded: Loaded, indices: Sequence[int]) -> Iterator[NDArray[Any]] | None:
    """Uncompressed frames of whole bytes, by their offset: no more of the file is read, save where its data
    set is deflated as a whole.

    None for another form (bits, planes, YBR, bytes in big endian, no place known), which is left to pydicom.
    Raises UnreadableObjectError (`broken-pixels`) where Pixel Data hold less than the header says.
    """
    header, syntax = loaded.header, loaded.instance.transfer_syntax_uid
    samples, allocated = count(header, "SamplesPerPixel"), count(header, "BitsAllocated")
    grey = samples == 1 and text(header, "PhotometricInterpretation") != "YBR_FULL_422"
    rgb = samples == 3 and text(header, "PhotometricInterpretation") == "RGB"
    interleaved = rgb and not number(header, "PlanarConfiguration") and allocated == 8
    big = syntax == ExplicitVRBigEndian
    if (
        loaded.pixels_at is None
        or syntax not in _NATIVE
        or allocated not in ((16, 32) if big else (8, 16, 32))
        or not (grey or interleaved)
    ):
        return None
    shape = (count(header, "Rows"), count(header, "Columns"), *((3,) if samples == 3 else ()))
    kind = np.dtype(f"{'>' if big else '<'}u{allocated // 8}")
    start, length = _value_at(loaded, loaded.pixels_at)
    if start is None:
        return None
    if length == _UNDEFINED:  # fragments, whatever the transfer syntax says: their heads are no pixels
        raise UnreadableObjectError("broken-pixels", "Its pixel data are compressed, though it says not.")
    if length < math.prod(shape) * kind.itemsize * count(header, "NumberOfFrames", default=1):
        raise UnreadableObjectError("broken-pixels", "Its pixel data are shorter than it says.")
    words = _at_offsets(loaded, indices, start, kind, shape)
    stored = count(header, "BitsStored", default=allocated)
    highest = int(number(header, "HighBit") or stored - 1)
    signed = number(header, "PixelRepresentation") == 1
    return (stored_values(frame, stored, highest, signed=signed) for frame in words)


def stored_values(words: NDArray[Any], stored: int, highest: int, *, signed: bool) -> NDArray[Any]:
    """The `stored` bits up to the bit `highest` of unsigned words, as numbers (PS3.5 8.1.1): what lies above
    or below, such as an overlay of old, is no part of the value."""
    allocated = 8 * words.itemsize
    above, spare = allocated - 1 - highest, allocated - stored
    if not 0 < stored <= allocated or above < 0 or spare < above:
        raise UnreadableObjectError("bad-attribute", "Its Bits Stored and High Bit contradict each other.")
    if spare == 0:
        return words.view(f"<i{words.itemsize}") if signed else words
    left = words << above
    return (left.view(f"<i{words.itemsize}") if signed else left) >> spare


def _opened(loaded: Loaded) -> BinaryIO:
    """What `Loaded.pixels_at` counts in."""
    if loaded.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        return inflate(loaded.instance)
    return loaded.instance.path.open("rb")


def _at_offsets(
    loaded: Loaded, indices: Sequence[int], start: int, kind: np.dtype[Any], shape: tuple[int, ...]
) -> Iterator[NDArray[Any]]:
    size = math.prod(shape) * kind.itemsize
    with _opened(loaded) as file:
        for index in indices:
            file.seek(start + index * size)
            data = bytearray(file.read(size))  # writable, as other frames are
            if len(data) < size:
                raise UnreadableObjectError("broken-pixels", "Its pixel data are shorter than it says.")
            frame = np.frombuffer(data, dtype=kind).reshape(shape)
            yield frame.astype(kind.newbyteorder("<"), copy=False)


def _value_at(loaded: Loaded, at: int) -> tuple[int | None, int]:
    """The offset of the first pixel, where Pixel Data stands at `at` (PS3.5 7.1), None where it does not; and
    the length of its value in bytes."""
    with _opened(loaded) as file:
        file.seek(at)
        head = file.read(12)
    order: Literal["big", "little"] = (
        "big" if loaded.instance.transfer_syntax_uid == ExplicitVRBigEndian else "little"
    )
    group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))
    if (group << 16) + element != _PIXELS or len(head) < 12:
        return None, 0
    if loaded.instance.transfer_syntax_uid == ImplicitVRLittleEndian:
        return at + 8, int.from_bytes(head[4:8], order)
    known = head[4:6] in (b"OB", b"OW", b"UN")
    return (at + 12 if known else None), int.from_bytes(head[8:12], order)


def _value_of_pixels(file: BinaryIO, at: int | None) -> int:
    """The offset of the Basic Offset Table. Pixel Data stands `at` an offset, or is to be looked for.

    Encapsulated data are Explicit VR Little Endian (PS3.5 A.4). Raises UnreadableObjectError
    (`no-pixel-data`)."""
    for known in (True, False) if at is not None else (False,):
        file.seek(at if known and at is not None else 0)
        if not known:
            read_partial(file, stop_when=_at_pixels, force=True, specific_tags=[Tag("Rows")])
        head = file.read(12)
        group, element = (int.from_bytes(head[i : i + 2], "little") for i in (0, 2))
        if (group << 16) + element == _PIXELS:
            return file.tell()
    raise UnreadableObjectError("no-pixel-data", "It has no pixel data.")


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= FIRST_PIXELS


def inspect(data: bytes) -> Stream | None:
    """What a stream says of itself; None where it is of another kind or has no header that can be found."""
    if data[:2] == _START:
        return _inspect_jpeg(data)
    at = data.find(_SIZES, 0, 4096)  # behind the boxes of a JP2 file, which some writers leave in
    if at < 0 or len(data) < at + 42:
        return None
    x, y, x0, y0 = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(4))
    depth = data[at + 42] if len(data) > at + 42 else 0  # Ssiz of the first component: sign, bits less one
    components = int.from_bytes(data[at + 40 : at + 42], "big")
    return Stream(y - y0, x - x0, components, (depth & 0x7F) + 1, signed=depth >= 0x80)


def _inspect_jpeg(data: bytes) -> Stream | None:
    jfif, adobe, at = False, None, 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker == 0xE0 and body[:5] == b"JFIF\0":
            jfif = True
        elif marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        elif marker == _JPEG_LS or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAME):
            if len(body) < 6:
                return None
            names = bytes(body[6 + 3 * i] for i in range(body[5]) if 6 + 3 * i < len(body))
            rows, columns = (int.from_bytes(body[i : i + 2], "big") for i in (1, 3))
            return Stream(rows, columns, body[5], body[0], False, jfif, adobe, names == b"RGB")
        elif marker == 0xDA:
            return None
        at += 2 + length
    return None
