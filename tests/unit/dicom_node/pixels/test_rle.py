"""RLE Lossless by PackBits: the same as pydicom's own, whole and smaller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import RLELossless
from rle.rle import encode_frame

from dicom_node.pixels.decoders import rle
from dicom_node.pixels.decoders.by_pydicom import ByPydicom
from dicom_node.pixels.decoders.coded import Coded, halved, shrink
from dicom_node.pixels.decoders.registry import decode

RANDOM = np.random.default_rng(12)


def coded(pixels: NDArray[np.integer], bits: int | None = None) -> Coded:
    rows, columns = pixels.shape
    allocated = 8 * pixels.itemsize
    data = bytes(encode_frame(pixels.tobytes(), rows, columns, 1, allocated, "<"))
    signed = pixels.dtype.kind == "i"
    return Coded(
        data, str(RLELossless), rows, columns, 1, allocated, bits or allocated, signed, "MONOCHROME2", 0, None
    )


def runs(kind: type, shape: tuple[int, int]) -> NDArray[np.integer]:
    """Long runs, short ones and none."""
    limits = np.iinfo(kind)
    pixels = RANDOM.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    pixels[: shape[0] // 2] = np.repeat(pixels[: shape[0] // 2, ::8], 8, axis=1)[:, : shape[1]]
    pixels[3:9] = 77
    return pixels


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16])
@pytest.mark.parametrize("shape", [(64, 128), (61, 77)])
def test_whole_frames(kind: type, shape: tuple[int, int]) -> None:
    pixels = runs(kind, shape)
    frame = coded(pixels)
    assert rle._planes(frame) is not None, "the fast way is the one that is tested"
    np.testing.assert_array_equal(decode(frame, 0, contained=True), pixels)
    np.testing.assert_array_equal(ByPydicom().decode(frame, 0), pixels)


@pytest.mark.parametrize("halvings", [1, 2, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
@pytest.mark.parametrize("shape", [(64, 128), (61, 77)])
def test_smaller_frames_are_means_of_whole_ones(kind: type, shape: tuple[int, int], halvings: int) -> None:
    pixels = runs(kind, shape)
    small = decode(coded(pixels), halvings, contained=True)
    assert (small.dtype, small.shape) == (pixels.dtype, halved(shape, halvings))
    np.testing.assert_array_equal(small, shrink(pixels, halvings))


@pytest.mark.parametrize(("kind", "bits"), [(np.uint16, 12), (np.uint16, 7), (np.uint8, 6)])
@pytest.mark.parametrize("packed", [True, False])
def test_what_lies_above_the_stored_bits_is_no_value(
    monkeypatch: pytest.MonkeyPatch, kind: type, bits: int, packed: bool
) -> None:
    words = runs(kind, (64, 128))
    values = words & kind((1 << bits) - 1)
    if not packed:
        monkeypatch.setattr(rle, "_planes", lambda _: None)
    np.testing.assert_array_equal(decode(coded(words, bits), 0, contained=True), values)
    np.testing.assert_array_equal(decode(coded(words, bits), 2, contained=True), shrink(values, 2))


def test_signed_values_of_fewer_bits() -> None:
    words = np.array([[0x0FFF, 0x0001] * 8] * 4, dtype=np.uint16)
    frame = replace(coded(words, bits=12), signed=True)
    np.testing.assert_array_equal(decode(frame, 0, contained=True), [[-1, 1] * 8] * 4)


@pytest.mark.parametrize("at", [0, 4, 8, 70])
def test_what_is_not_as_it_should_be_is_no_fast_way(at: int) -> None:
    frame = coded(runs(np.uint16, (16, 16)))
    data = bytearray(frame.data)
    data[at : at + 4] = b"\x7f\x7f\x7f\x7f"
    assert rle._planes(replace(frame, data=bytes(data))) is None
    assert rle._planes(replace(frame, data=frame.data[:-40])) is None
