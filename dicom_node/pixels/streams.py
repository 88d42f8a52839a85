"""Where compressed frames lie in a file, what they say of themselves before they are decoded, and JPEG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from dicom_node.errors import UnreadableObjectError

_FIRST_PIXELS = 0x7FE00008
"""Float Pixel Data, before Double Float Pixel Data and Pixel Data (7FE0,0010)."""
_PIXELS = 0x7FE00010
_START, _SIZES = b"\xff\xd8", b"\xff\x4f\xff\x51"
"""SOI of all JPEG; SOC and SIZ of JPEG 2000."""
_NO_FRAME = frozenset((0xC4, 0xC8, 0xCC))
"""Markers between C0 and CF that are no start of frame: DHT, JPG, DAC (ISO 10918-1 table B.1)."""
_JPEG_LS = 0xF7


@dataclass(frozen=True, slots=True)
class Stream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 stream."""

    rows: int
    columns: int
    components: int
    jfif: bool = False
    adobe: int | None = None
    """The transform of an Adobe marker: 0 RGB, 1 YCbCr."""
    named_rgb: bool = False
    """Whether the components are called R, G and B."""


def encoded_frames(
    file: BinaryIO, indices: Sequence[int], frames: int, offsets: tuple[bytes, bytes] | None
) -> Iterator[bytes]:
    """The encoded frames with these 0-based indices of an open Part 10 file; `offsets` is its Extended Offset
    Table, where it has one. Raises UnreadableObjectError (`no-pixel-data`)."""
    start = _value_of_pixels(file)
    for index in indices:
        file.seek(start)
        yield get_frame(file, index, number_of_frames=frames, extended_offsets=offsets)


def _value_of_pixels(file: BinaryIO) -> int:
    """The offset of the Basic Offset Table. Encapsulated data are Explicit VR Little Endian (PS3.5 A.4)."""

    def at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return int(tag) >= _FIRST_PIXELS

    file.seek(0)
    read_partial(file, stop_when=at_pixels, force=True, specific_tags=[Tag("Rows")])
    head = file.read(12)
    group, element = (int.from_bytes(head[i : i + 2], "little") for i in (0, 2))
    if (group << 16) + element != _PIXELS:
        raise UnreadableObjectError("no-pixel-data", "It has no pixel data.")
    return file.tell()


def inspect(data: bytes) -> Stream | None:
    """What a stream says of itself; None where it is of another kind or has no header that can be found."""
    if data[:2] == _START:
        return _inspect_jpeg(data)
    at = data.find(_SIZES, 0, 4096)  # behind the boxes of a JP2 file, which some writers leave in
    if at < 0 or len(data) < at + 42:
        return None
    x, y, x0, y0 = (int.from_bytes(data[at + 8 + 4 * i : at + 12 + 4 * i], "big") for i in range(4))
    return Stream(y - y0, x - x0, int.from_bytes(data[at + 40 : at + 42], "big"))


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
            return Stream(rows, columns, body[5], jfif, adobe, names == b"RGB")
        elif marker == 0xDA:
            return None
        at += 2 + length
    return None


def decode_jpeg(data: bytes, stream: Stream, photometric: str, bits: int, signed: bool) -> NDArray[Any]:
    """A DCT stream of 8 or 12 bits, sequential or progressive, (rows, columns) or (rows, columns, 3) RGB.

    The stream tells its colours itself where it can; the DICOM photometric interpretation decides where
    it does not.
    """
    space = None
    if stream.components == 3:
        rgb = stream.named_rgb or (photometric == "RGB" and not stream.jfif)
        space = "RGB" if (stream.adobe == 0 if stream.adobe is not None else rgb) else "YCBCR"
    pixels: NDArray[Any] = imagecodecs.jpeg8_decode(
        data, colorspace=space, outcolorspace="RGB" if space else None
    )
    if not signed:
        return pixels
    spare = 8 * pixels.dtype.itemsize - min(bits, 8 * pixels.dtype.itemsize)
    kind = np.dtype(f"i{pixels.dtype.itemsize}")
    return np.asarray((pixels << spare).view(kind) >> spare)  # the sign is the highest bit stored
