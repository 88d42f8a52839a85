"""Decoding in children: the same pixels as here, and no frame that can end the node."""

from __future__ import annotations

import io
import os
import signal
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels import contained
from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.decode_child import answer
from dicom_node.pixels.decoders.coded import Coded, Place, halved, shrink
from dicom_node.pixels.decoders.registry import decode_here
from dicom_node.pixels.decoders.wire import pixels_of, request_of
from dicom_node.pixels.streams import inspect

GREY = (np.add.outer(np.arange(96), 2 * np.arange(130)) * 11 % 4096).astype(np.uint16)
SMOOTH = np.clip(np.add.outer(8 * np.arange(96), 12 * np.arange(130)), 0, 4095).astype(np.uint16)


def coded(data: bytes, syntax: str, pixels: np.ndarray = GREY, bits: int = 12) -> Coded:
    return Coded(
        data=bytes(data),
        transfer_syntax=str(syntax),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples=1,
        bits_allocated=8 * pixels.itemsize,
        bits_stored=bits,
        signed=False,
        photometric="MONOCHROME2",
        planar=0,
        stream=inspect(bytes(data)),
    )


def packed(pixels: np.ndarray) -> bytes:
    """RLE Lossless of 16-bit values (PS3.5 annex G): two segments of literal runs."""
    segments = []
    for plane in (pixels >> 8, pixels & 0xFF):
        flat = plane.astype(np.uint8).tobytes()
        runs = [flat[i : i + 128] for i in range(0, len(flat), 128)]
        segment = b"".join(bytes([len(run) - 1]) + run for run in runs)
        segments.append(segment + b"\0" * (len(segment) % 2))
    offsets = [2, 64, 64 + len(segments[0]), *[0] * 13]
    return b"".join(value.to_bytes(4, "little") for value in offsets) + b"".join(segments)


FRAMES = {
    "JPEG 2000": coded(
        imagecodecs.jpeg2k_encode(GREY, codecformat="J2K", bitspersample=12), JPEG2000Lossless
    ),
    "JPEG-LS": coded(imagecodecs.jpegls_encode(GREY | 0x800), JPEGLSLossless, GREY),
    "RLE": coded(packed(GREY), RLELossless),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(2) as children:
        children.warm()
        yield children


@pytest.mark.parametrize("name", FRAMES)
def test_a_child_decodes_as_this_process_does(pool: DecoderPool, name: str) -> None:
    np.testing.assert_array_equal(pool(FRAMES[name], 0), decode_here(FRAMES[name], 0))


def test_several_threads_may_ask(pool: DecoderPool) -> None:
    frames = [FRAMES[name] for name in FRAMES] * 4
    with ThreadPoolExecutor(5) as threads:
        answers = list(threads.map(lambda frame: pool(frame, 0), frames))
    for frame, pixels in zip(frames, answers, strict=True):
        np.testing.assert_array_equal(pixels, decode_here(frame, 0))


@pytest.mark.parametrize("halvings", [1, 2, 3])
def test_a_smaller_size_looks_like_the_large_one_made_smaller(pool: DecoderPool, halvings: int) -> None:
    smooth = [
        coded(imagecodecs.jpeg2k_encode(SMOOTH, codecformat="J2K", bitspersample=12), JPEG2000Lossless),
        coded(imagecodecs.htj2k_encode(SMOOTH), HTJ2KLossless, SMOOTH, 16),
        coded(imagecodecs.jpegls_encode(SMOOTH | 1), JPEGLSLossless, SMOOTH),
        coded(packed(SMOOTH), RLELossless),
    ]
    for frame in smooth:
        small = pool(frame, halvings)
        assert small.shape == halved(SMOOTH.shape, halvings)
        assert small.dtype == SMOOTH.dtype
        differences = np.abs(small.astype(int) - shrink(SMOOTH, halvings).astype(int))
        assert np.median(differences) <= 20 << halvings, frame.transfer_syntax


def test_a_jpeg_may_be_decoded_smaller() -> None:
    pixels = (SMOOTH >> 4).astype(np.uint8)
    frame = coded(imagecodecs.jpeg8_encode(pixels, level=95), JPEGBaseline8Bit, pixels, 8)
    small = decode_here(frame, 2)
    assert small.shape == (24, 33)
    assert np.abs(small.astype(int) - shrink(pixels, 2).astype(int)).max() <= 6


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.uint16, np.int16, np.uint32])
@pytest.mark.parametrize("shape", [(64, 96), (61, 97), (40, 48, 3)])
@pytest.mark.parametrize("halvings", [1, 2, 3, 5])
def test_shrink_equals_the_naive_mean(kind: type, shape: tuple[int, ...], halvings: int) -> None:
    step, limits = 1 << halvings, np.iinfo(kind)
    pixels = np.random.default_rng(4).integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)
    pixels[:step, :step] = limits.max  # the largest sum there can be
    spare = [(0, -side % step) for side in shape[:2]] + [(0, 0)] * (len(shape) - 2)
    padded = np.pad(pixels, spare, mode="edge").astype(np.int64)
    rows, columns = padded.shape[0] // step, padded.shape[1] // step
    sums = padded.reshape(rows, step, columns, step, *shape[2:]).sum(axis=(1, 3))
    means = (sums + step * step // 2) // (step * step)
    small = shrink(pixels, halvings)
    assert small.dtype == kind
    np.testing.assert_array_equal(small, means)


def test_shrink_is_the_mean_over_blocks() -> None:
    pixels = np.arange(7 * 5, dtype=np.uint16).reshape(7, 5)
    edge = np.pad(pixels, ((0, 1), (0, 1)), mode="edge").astype(float)
    naive = edge.reshape(4, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(shrink(pixels, 1), np.floor(naive + 0.5).astype(np.uint16))
    negative = -pixels.astype(np.int16)
    assert np.abs(shrink(negative, 1) + naive).max() <= 0.5


@pytest.mark.parametrize("name", FRAMES)
def test_broken_data_are_told_and_the_child_goes_on(pool: DecoderPool, name: str) -> None:
    whole = FRAMES[name]
    for cut in (len(whole.data) // 3, 70, 5):
        with pytest.raises((UnreadableObjectError, UnsupportedObjectError)) as caught:
            pool(replace(whole, data=whole.data[:cut], stream=inspect(whole.data[:cut])), 0)
        assert caught.value.reason in ("broken-pixels", "decoder-died")
    np.testing.assert_array_equal(pool(whole, 0), decode_here(whole, 0))


def test_a_child_that_died_while_idle_costs_no_frame() -> None:
    with DecoderPool(1) as lone:
        lone.warm()
        child = lone._idle[0]._process
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        np.testing.assert_array_equal(lone(FRAMES["RLE"], 0), GREY)


def test_a_frame_that_kills_its_decoder_is_refused_and_the_next_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, started = contained._read, []

    def after_its_death(source: int, until: float) -> bytes:
        os.kill(started[-1]._process.pid, signal.SIGKILL)
        started[-1]._process.wait()
        return real(source, until)

    class Watched(contained._Child):
        def __init__(self, megabytes: int, seconds: float) -> None:
            super().__init__(megabytes, seconds)
            started.append(self)

    monkeypatch.setattr(contained, "_Child", Watched)
    slow = np.zeros((8192, 8192), dtype=np.uint16)
    large = coded(imagecodecs.jpegls_encode(slow), JPEGLSLossless, slow, 16)
    with DecoderPool(1) as lone:
        monkeypatch.setattr(contained, "_read", after_its_death)
        with pytest.raises(UnreadableObjectError) as caught:
            lone(large, 0)
        assert caught.value.reason == "decoder-died"
        monkeypatch.setattr(contained, "_read", real)
        np.testing.assert_array_equal(lone(FRAMES["RLE"], 0), GREY)


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_may_be_told_by_its_place(pool: DecoderPool, tmp_path: Path, name: str) -> None:
    """In two fragments of a file, of which the request holds no byte."""
    whole = FRAMES[name]
    middle = len(whole.data) // 2
    path = tmp_path / "frame"
    path.write_bytes(b"before" + whole.data[:middle] + b"between" + whole.data[middle:] + b"behind")
    place = Place(path, ((6, middle), (13 + middle, len(whole.data) - middle)))
    told = replace(whole, data=whole.data[:100], place=place)
    np.testing.assert_array_equal(pool(told, 0), decode_here(whole, 0))
    np.testing.assert_array_equal(decode_here(told, 1), decode_here(whole, 1))


def test_a_file_that_is_gone_is_no_fault_of_its_frame(tmp_path: Path) -> None:
    told = replace(FRAMES["RLE"], place=Place(tmp_path / "none", ((0, 10),)))
    answers = io.BytesIO()
    line, data = request_of(told, 0)
    answer(io.BytesIO(line + data), answers, seconds=60)
    with pytest.raises(FileNotFoundError):
        pixels_of(answers.getvalue(), bytearray())


def test_an_answer_larger_than_any_frame_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that a codec's fault has given to somebody else may claim what it likes."""
    monkeypatch.setattr(contained, "length_of", lambda _line: 1 << 40)
    with DecoderPool(1) as lone:
        with pytest.raises(UnreadableObjectError) as caught:
            lone(FRAMES["RLE"], 0)
        assert caught.value.reason == "decoder-died"


def test_a_decoder_that_hangs_is_ended() -> None:
    with DecoderPool(1, seconds=0.0) as hasty:
        hasty.warm()
        hasty._idle[0].await_ready()  # its start has a limit of its own
        began = time.monotonic()
        with pytest.raises(UnreadableObjectError) as caught:
            hasty(FRAMES["JPEG 2000"], 0)
        assert caught.value.reason == "decoder-hung"
        assert time.monotonic() - began < 5


def test_a_child_has_no_more_memory_than_it_was_given() -> None:
    pixels = np.zeros((8192, 8192), dtype=np.uint16)
    large = coded(imagecodecs.jpegls_encode(pixels), JPEGLSLossless, pixels, 16)
    with DecoderPool(1, megabytes=220) as tight:
        with pytest.raises(UnreadableObjectError):
            tight(large, 0)
        np.testing.assert_array_equal(tight(FRAMES["RLE"], 0), GREY)


@pytest.mark.parametrize(("bits", "kind"), [(1, np.uint8), (8, np.uint8), (16, np.uint16)])
def test_a_deflated_frame(bits: int, kind: type) -> None:
    values = (GREY[:10, :13].astype(int) % 2**bits).astype(kind)
    raw = np.packbits(values, bitorder="little").tobytes() if bits == 1 else values.tobytes()
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = packer.compress(raw) + packer.flush()
    frame = replace(coded(data, "1.2.840.10008.1.2.8.1", values, bits), bits_allocated=bits)
    np.testing.assert_array_equal(decode_here(frame, 0), values)
    with pytest.raises((ValueError, zlib.error)):
        decode_here(replace(frame, data=data[: len(data) // 2]), 0)
