"""JPEG 2000 (part 1), whole or only as many resolution levels as are needed."""

from __future__ import annotations

import io
from contextlib import suppress

import imagecodecs
import numpy as np
from PIL import Image

from dicom_node.pixels.decoders.coded import Coded, Pixels

_SOC_COD = b"\xff\x52"
_RGB = frozenset({"RGB", "YBR_RCT", "YBR_ICT"})


def levels(data: bytes) -> int:
    """How often the stream's first tile can be halved: the decomposition levels of its COD marker
    (ISO 15444-1 A.6.1); 0 where that is not found."""
    at = data.find(_SOC_COD, 0, 4096)
    return data[at + 9] if at >= 0 and at + 9 < len(data) and data[at + 9] <= 32 else 0


class Jpeg2000:
    """OpenJPEG, by imagecodecs with two threads for the full size, by Pillow for a smaller one (imagecodecs
    has no such option): 18 times as fast at a quarter of the size."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey of the header's depth and sign, or colours that the stream itself makes RGB."""
        if coded.stream is None:
            return False
        colour = coded.samples == 3 and coded.photometric in _RGB and coded.stream.precision == 8
        grey = coded.grey and coded.stream.precision <= 16
        return (grey or (colour and not coded.signed)) and coded.stream.signed == coded.signed

    def decode(self, coded: Coded, halvings: int) -> Pixels:
        """See Decoder."""
        halvings = min(halvings, levels(coded.data))
        smaller = reduced(coded, halvings)
        if smaller is not None:
            return smaller
        pixels: Pixels = imagecodecs.jpeg2k_decode(coded.data, numthreads=2)
        return pixels


def reduced(coded: Coded, halvings: int) -> Pixels | None:
    """At 1/2^k of the size by Pillow (OpenJPEG, which saturates what swings beyond the range), for the
    greatest k from 1 to `halvings` that it can; None where it can none."""
    for fewer in range(halvings, 0, -1):
        with suppress(
            OSError
        ):  # Pillow takes fewer kinds of streams than imagecodecs, and odd sizes at times
            return _by_pillow(coded, fewer)
    return None


def _by_pillow(coded: Coded, halvings: int) -> Pixels:
    assert coded.stream is not None  # noqa: S101 # see takes()
    with Image.open(io.BytesIO(coded.data), formats=["JPEG2000"]) as image:
        image.reduce = halvings  # type: ignore[method-assign, assignment] # Pillow's interface
        image.load()
        pixels = np.asarray(image)
    if coded.samples == 3:
        return pixels
    # Pillow gives unsigned values whose highest bit is the highest of its word.
    word = 8 * pixels.dtype.itemsize
    values = pixels >> (word - coded.stream.precision)
    if not coded.signed:
        return values.astype(f"u{coded.bits_allocated // 8}")
    offset = 1 << (coded.stream.precision - 1)
    return (values.astype(np.int32) - offset).astype(f"i{coded.bits_allocated // 8}")
