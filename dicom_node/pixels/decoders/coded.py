"""One encoded frame with all that a decoder must know of it, and what decoders share."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dicom_node.pixels.decoders.sums import block_sums

Pixels = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a frame lies, so that only the process that decodes it need read it."""

    path: Path
    """Absolute."""
    parts: tuple[tuple[int, int], ...]
    """Offset and length of each fragment, in bytes, in order."""

    def read(self) -> bytes:
        """All of it; less where the file has become shorter. Raises OSError where the file is gone."""
        with self.path.open("rb", buffering=0) as file:
            values = [os.pread(file.fileno(), length, offset) for offset, length in self.parts]
        return values[0] if len(values) == 1 else b"".join(values)


@dataclass(frozen=True, slots=True)
class Stream:
    """The header of a JPEG, JPEG-LS or JPEG 2000 stream."""

    rows: int
    columns: int
    components: int
    precision: int
    """Bits of a component."""
    signed: bool = False
    """JPEG 2000 alone can tell; the others leave it to the DICOM header."""
    jfif: bool = False
    adobe: int | None = None
    """The transform of an Adobe marker: 0 RGB, 1 YCbCr."""
    named_rgb: bool = False
    """Whether the components are called R, G and B."""


@dataclass(frozen=True, slots=True)
class Coded:
    """One frame as it lies in the file (PS3.5 A.4), and the attributes of Image Pixel that tell its form."""

    data: bytes
    """All of it; its first bytes alone where `place` is told."""
    transfer_syntax: str
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    photometric: str
    planar: int
    stream: Stream | None
    """What the data say of themselves; None where they do not."""
    place: Place | None = None
    """Where the whole frame is to be read from; None where `data` holds it."""

    def whole(self) -> Coded:
        """The same with all its data. Raises OSError where the file is gone."""
        return self if self.place is None else replace(self, data=self.place.read(), place=None)

    @property
    def size(self) -> tuple[int, int, int]:
        """(rows, columns, samples)."""
        return self.rows, self.columns, self.samples

    @property
    def grey(self) -> bool:
        """One sample per pixel, and the stream, where there is one, of a depth that leaves the stored value
        as it is: Bits Stored, or more where there is no sign to extend."""
        if self.samples != 1 or self.bits_allocated not in (8, 16):
            return False
        if self.stream is None or self.stream.precision == self.bits_stored:
            return True
        return not self.signed and self.bits_stored < self.stream.precision <= self.bits_allocated

    @property
    def words(self) -> bool:
        """One sample per pixel in words of at least Bits Stored, which `as_stored` makes values of."""
        if self.samples != 1 or self.bits_allocated not in (8, 16):
            return False
        return self.stream is None or self.bits_stored <= self.stream.precision <= self.bits_allocated


class Decoder(Protocol):
    """A codec."""

    @property
    def name(self) -> str:
        """For people: what decodes."""
        ...

    @property
    def contained(self) -> bool:
        """Whether damaged data may end the process that runs it, so that it runs in a child only."""
        ...

    def takes(self, coded: Coded) -> bool:
        """Whether it decodes this very frame, whose transfer syntax it knows."""
        ...

    def decode(self, coded: Coded, halvings: int, /) -> Pixels:
        """(rows, columns) or (rows, columns, 3), stored values, save that YBR becomes RGB; or the same at
        1/2^k of the size in each direction, rounded up, for one k from 0 to `halvings`.

        Raises whatever the codec raises on data that are broken.
        """
        ...


def halved(size: tuple[int, int], halvings: int) -> tuple[int, int]:
    """Rows and columns after so many halvings, rounded up as JPEG 2000 does (ISO 15444-1 B.5)."""
    rows, columns = size
    return -(-rows >> halvings), -(-columns >> halvings)


def shrink(pixels: Pixels, halvings: int) -> Pixels:
    """Means over blocks of 2^halvings in each direction, rounded; the last blocks may be narrower.

    (rows, columns[, 3]) to the size that `halved` tells, same dtype. Integers only.
    """
    if halvings == 0:
        return pixels
    step = 1 << halvings
    rows, columns = halved((pixels.shape[0], pixels.shape[1]), halvings)
    spare = (rows * step - pixels.shape[0], columns * step - pixels.shape[1])
    if any(spare):
        padding = ((0, spare[0]), (0, spare[1]), *((0, 0),) * (pixels.ndim - 2))
        pixels = np.pad(pixels, padding, mode="edge")
    signed = pixels.dtype.kind == "i" and pixels.itemsize <= 2 and pixels.flags.c_contiguous
    total: NDArray[Any] | None = block_sums(_above_zero(pixels) if signed else pixels, step)
    if total is None:
        signed = False
        total = np.zeros((rows, columns, *pixels.shape[2:]), np.int64 if pixels.itemsize > 2 else np.int32)
        for y in range(step):
            row = pixels[y::step]
            for x in range(step):
                total += row[:, x::step]
    means = (total + total.dtype.type(1 << (2 * halvings - 1))) >> total.dtype.type(2 * halvings)
    return (
        _above_zero(means.astype(f"u{pixels.itemsize}"), back=True) if signed else means.astype(pixels.dtype)
    )


def _above_zero(pixels: Pixels, *, back: bool = False) -> Pixels:
    """Signed values plus half of their range as unsigned ones of the same width, or `back`."""
    half = np.array(1 << (8 * pixels.itemsize - 1), dtype=f"u{pixels.itemsize}")
    moved: Pixels = pixels.view(half.dtype) ^ half
    return moved.view(f"i{pixels.itemsize}") if back else moved


def as_stored(pixels: Pixels, coded: Coded) -> Pixels:
    """Unsigned words of a codec that knows no sign as stored values: two's complement of Bits Stored where
    Pixel Representation says signed (PS3.5 8.1.1)."""
    kind = np.dtype(f"{'i' if coded.signed else 'u'}{coded.bits_allocated // 8}")
    if not coded.signed:
        return pixels.astype(kind, copy=False)
    spare = coded.bits_allocated - coded.bits_stored
    return np.asarray((pixels.astype(f"u{kind.itemsize}") << spare).view(kind) >> spare)
