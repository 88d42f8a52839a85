"""JPEG 2000 and HTJ2K read smaller: white blocks on black, where the low-pass band swings over."""

from __future__ import annotations

from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless

from dicom_node.pixels.decoders import jpeg2000
from dicom_node.pixels.decoders.coded import Coded, halved, shrink
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.streams import inspect


def blocks(low: int, high: int, kind: type) -> NDArray[np.integer]:
    random = np.random.default_rng(3)
    pixels = np.full((256, 256), low, dtype=kind)
    for _ in range(30):
        y, x, h, w = random.integers(0, 200), random.integers(0, 200), *random.integers(3, 50, 2)
        pixels[y : y + h, x : x + w] = high
    return pixels


def coded(data: bytes, syntax: str, pixels: NDArray[np.integer], bits: int) -> Coded:
    return Coded(
        data=bytes(data),
        transfer_syntax=syntax,
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples=1,
        bits_allocated=8 * pixels.itemsize,
        bits_stored=bits,
        signed=pixels.dtype.kind == "i",
        photometric="MONOCHROME2",
        planar=0,
        stream=inspect(bytes(data)),
    )


@pytest.mark.parametrize("halvings", [1, 2])
@pytest.mark.parametrize(
    ("low", "high", "bits", "kind"),
    [
        (0, 4095, 12, np.uint16),
        (0, 65535, 16, np.uint16),
        (0, 255, 8, np.uint8),
        (-32768, 32767, 16, np.int16),
    ],
)
def test_sharp_edges_do_not_wrap_round(low: int, high: int, bits: int, kind: type, halvings: int) -> None:
    pixels = blocks(low, high, kind)
    frame = coded(imagecodecs.htj2k_encode(pixels), HTJ2KLossless, pixels, bits)
    small = decode(frame, halvings, contained=True)
    assert (small.shape, small.dtype) == (halved(pixels.shape, halvings), pixels.dtype)
    assert small.min() >= low
    assert small.max() <= high
    away = np.abs(small.astype(int) - shrink(pixels, halvings).astype(int))
    assert away.max() <= 0.75 * (high - low), "a wrapped value is off by nearly the whole range"
    assert (away > (high - low) / 2).mean() < 0.02


def test_values_beyond_bits_stored_are_no_swings() -> None:
    pixels = np.full((64, 64), 40_000, dtype=np.uint16)
    frame = coded(imagecodecs.htj2k_encode(pixels), HTJ2KLossless, pixels, 12)
    np.testing.assert_allclose(decode(frame, 2, contained=True).astype(int), 40_000, atol=2)


def test_where_one_size_fails_the_next_larger_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = blocks(0, 4095, np.uint16)
    frame = coded(
        imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", bitspersample=12), JPEG2000Lossless, pixels, 12
    )
    real, asked = jpeg2000._by_pillow, []

    def only_halves(one: Coded, halvings: int) -> NDArray[np.integer]:
        asked.append(halvings)
        if halvings > 1:
            raise OSError("not this one")
        return real(one, halvings)

    monkeypatch.setattr(jpeg2000, "_by_pillow", only_halves)
    small = decode(frame, 3, contained=True)
    assert small.shape == (32, 32)
    assert asked == [3, 2, 1]


def test_a_signed_stream_keeps_its_sign() -> None:
    pixels = blocks(-2048, 2047, np.int16)
    frame = replace(coded(imagecodecs.htj2k_encode(pixels), HTJ2KLossless, pixels, 12), bits_stored=16)
    small = decode(frame, 1, contained=True)
    assert small[pixels[::2, ::2] == -2048].mean() < -1500


def test_a_faint_swing_below_zero_does_not_turn_white() -> None:
    """An edge of a tenth of the range: what rings below 0 wraps to the greatest value of 16 bits."""
    pixels = blocks(0, 6000, np.uint16)
    assert imagecodecs.htj2k_decode(imagecodecs.htj2k_encode(pixels), skipres=2).max() > 60_000
    frame = coded(imagecodecs.htj2k_encode(pixels), HTJ2KLossless, pixels, 16)
    assert decode(frame, 2, contained=True).max() < 10_000
