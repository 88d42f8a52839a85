"""Compressed words of more bits than are stored: the value is cut out of them, as of uncompressed ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.pixels.decode import read_frame
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.ground import load_header
from tests.support.pixel_objects import radiograph, save

Encode = Callable[[NDArray[np.uint16]], bytes]
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def rle(words: NDArray[np.uint16]) -> bytes:
    """Two segments, the more significant bytes first (PS3.5 G.2)."""
    segments = [bytes(s) + b"\0" * (len(s) % 2) for s in (_planes(words, 8), _planes(words, 0))]
    head = np.zeros(16, dtype="<u4")
    head[:3] = 2, 64, 64 + len(segments[0])
    return head.tobytes() + b"".join(segments)


def _planes(words: NDArray[np.uint16], shift: int) -> bytes:
    plane = ((words >> shift) & 255).astype(np.uint8)
    return b"".join(bytes(imagecodecs.packbits_encode(row.tobytes())) for row in plane)


ENCODERS: dict[str, Encode] = {
    JPEG2000Lossless: lambda words: bytes(imagecodecs.jpeg2k_encode(words, codecformat="J2K")),
    HTJ2KLossless: lambda words: bytes(imagecodecs.htj2k_encode(words)),
    JPEGLSLossless: lambda words: bytes(imagecodecs.jpegls_encode(words)),
    JPEGLosslessSV1: lambda words: bytes(imagecodecs.ljpeg_encode(words, bitspersample=16)),
    RLELossless: rle,
}


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize(
    ("highest", "signed"), [(11, False), (15, False), (13, False), (11, True), (15, True)]
)
def test_bits_up_to_the_high_bit(tmp_path: Path, syntax: str, highest: int, signed: bool) -> None:
    values = RAMP.astype(np.int32) - 2048 if signed else RAMP
    words = (values << (highest - 11)).astype(np.int32).astype(np.uint32).astype(np.uint16)
    ds = radiograph(RAMP, bits=12)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.HighBit, ds.PixelRepresentation = highest, int(signed)
    ds.PixelData = encapsulate([ENCODERS[syntax](words)])
    ds["PixelData"].VR = "OB"
    loaded = load_header(save(ds, tmp_path), lambda coded, halvings: decode(coded, halvings, contained=True))
    np.testing.assert_array_equal(read_frame(loaded), values)
    means = values.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(read_frame(loaded, halvings=1) - means).max() <= (40 if highest == 11 and not signed else 1)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_signed_words_without_their_sign_bits(tmp_path: Path, syntax: str) -> None:
    values = RAMP.astype(np.int16) - 2048
    ds = radiograph(RAMP, bits=12)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelRepresentation = 1
    ds.PixelData = encapsulate([ENCODERS[syntax](values.view(np.uint16) & 0xFFF)])
    ds["PixelData"].VR = "OB"
    loaded = load_header(save(ds, tmp_path), lambda coded, halvings: decode(coded, halvings, contained=True))
    np.testing.assert_array_equal(read_frame(loaded), values)
