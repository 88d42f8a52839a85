"""RLE Lossless (PS3.5 annex G), grey."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from rle.rle import decode_frame

from dicom_node.pixels.decoders.coded import Coded, Pixels, as_stored
from dicom_node.pixels.decoders.sums import block_sums

_HEADER = 64
"""Bytes: the number of segments and the offset of each of up to 15."""
Planes = Sequence[NDArray[np.uint8]]


class Rle:
    """Each segment by imagecodecs' PackBits, in a third of the time that pylibjpeg-rle takes; that one takes
    what PackBits refuses, and panics in Rust on damaged data."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey only: colours are planes of planes."""
        return coded.grey

    def decode(self, coded: Coded, halvings: int) -> Pixels:
        """See Decoder. Every run is read; where words are made smaller, the sums of their bytes are."""
        planes = _planes(coded)
        if planes is None:
            flat = decode_frame(coded.data, coded.rows * coded.columns, coded.bits_allocated, "<")
            kind = np.dtype(f"<u{coded.bits_allocated // 8}")
            words = np.frombuffer(flat, dtype=kind).reshape(coded.rows, coded.columns)
            return as_stored(words & kind.type((1 << coded.bits_stored) - 1), coded)
        _cut(planes, coded.bits_stored)
        if halvings and not coded.signed:
            smaller = _means(planes, halvings)
            if smaller is not None:
                return smaller
        if len(planes) == 1:
            return as_stored(planes[0], coded)
        joined = np.empty((coded.rows, coded.columns, len(planes)), dtype=np.uint8)
        for place, plane in enumerate(reversed(planes)):
            joined[:, :, place] = plane
        return as_stored(joined.view(f"<u{len(planes)}")[:, :, 0], coded)


def _planes(coded: Coded) -> Planes | None:
    """(rows, columns) of each byte of the words, the most significant first (PS3.5 G.2); None where the
    header or a segment is not as it should be."""
    count, data = coded.bits_allocated // 8, memoryview(coded.data)
    told = np.frombuffer(data[:_HEADER], dtype="<u4")
    if len(told) != _HEADER // 4 or told[0] != count:
        return None
    starts = [int(offset) for offset in told[1 : count + 1]]
    ends = [*starts, len(data)]
    if starts[0] < _HEADER or any(begin >= end for begin, end in pairwise(ends)):
        return None
    packbits: Callable[..., Any] = imagecodecs.packbits_decode  # takes any buffer, whatever its types say
    planes = []
    for begin, end in pairwise(ends):
        plane = np.empty(coded.rows * coded.columns, dtype=np.uint8)
        try:
            done = packbits(data[begin:end], out=plane)
        except RuntimeError:  # what its errors are
            return None
        if len(done) != len(plane):
            return None
        planes.append(plane.reshape(coded.rows, coded.columns))
    return planes


def _cut(planes: Planes, stored: int) -> None:
    """Clear what lies above the stored bits, such as an overlay of old: it is no part of the value (PS3.5
    8.1.1)."""
    for place, plane in enumerate(reversed(planes)):
        kept = ((1 << stored) - 1) >> (8 * place) & 0xFF
        if kept != 0xFF:
            np.bitwise_and(plane, np.uint8(kept), out=plane)


def _means(planes: Planes, halvings: int) -> Pixels | None:
    """Means over blocks of 2^halvings, rounded as `shrink` does; None where the sides are no multiples."""
    total: NDArray[np.uint32] | None = None
    for plane in planes:
        sums = block_sums(plane, 1 << halvings)
        if sums is None:
            return None
        total = sums if total is None else (total << np.uint32(8)) + sums
    assert total is not None  # noqa: S101 # there is a plane for each byte
    means = (total + np.uint32(1 << (2 * halvings - 1))) >> np.uint32(2 * halvings)
    return means.astype(f"u{len(planes)}")
