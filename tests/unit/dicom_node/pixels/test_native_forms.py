"""Uncompressed and losslessly compressed words of every form, deflated bombs, and data that are too short."""

from __future__ import annotations

import resource
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.errors import UnreadableObjectError
from dicom_node.part10 import inflated, read_part10_head
from dicom_node.pixels.decode import read_frame
from dicom_node.pixels.decoders.coded import Coded, shrink
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.ground import Loaded, load_header
from dicom_node.pixels.headers import read_instance
from tests.support.pixel_objects import photograph, radiograph, save

TRUE = (np.arange(-64, 64).reshape(8, 16) * 16).astype(np.int16)
LOW = TRUE.astype(np.uint16) & 0xFFF
WORDS = {"high bit 15": (LOW << 4, 15), "no sign above": (LOW, 11), "an overlay above": (LOW | 0xA000, 11)}


def here(coded: Coded, halvings: int) -> NDArray[np.generic]:
    return decode(coded, halvings, contained=True)


def loaded(folder: Path, ds: Dataset) -> Loaded:
    return load_header(save(ds, folder), here)


@pytest.mark.parametrize("form", WORDS)
@pytest.mark.parametrize(
    "syntax",
    [
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_only_the_bits_stored_are_the_value(tmp_path: Path, syntax: str, form: str) -> None:
    words, high = WORDS[form]
    ds = radiograph(words, bits=12)
    ds.HighBit, ds.PixelRepresentation = high, 1
    ds.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = words.astype(">u2").tobytes()
    np.testing.assert_array_equal(read_frame(loaded(tmp_path, ds)), TRUE)


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEGLosslessSV1, RLELossless])
@pytest.mark.parametrize("words", [LOW, TRUE.view(np.uint16)], ids=["bare", "extended"])
def test_twelve_signed_bits_in_a_deeper_stream(
    tmp_path: Path, syntax: str, words: NDArray[np.uint16]
) -> None:
    ds = radiograph(words, bits=12)
    if syntax == RLELossless:
        ds.BitsStored, ds.HighBit = 16, 15
        ds.compress(RLELossless, words, generate_instance_uid=False)
    else:
        data = (
            imagecodecs.jpegls_encode(words | 0)
            if syntax == JPEGLSLossless
            else imagecodecs.jpeg8_encode(words, lossless=True, predictor=1, bitspersample=16)
        )
        ds.PixelData = encapsulate([bytes(data)])
        ds["PixelData"].VR = "OB"
        ds.file_meta.TransferSyntaxUID = syntax
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 12, 11, 1
    np.testing.assert_array_equal(read_frame(loaded(tmp_path, ds)), TRUE)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_what_follows_short_pixel_data_is_no_pixel(tmp_path: Path, syntax: str) -> None:
    grey = np.full((64, 64), 9, dtype=np.uint8)
    ds = radiograph(grey)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = grey.tobytes()[:4000]
    ds.add_new(0xFFFCFFFC, "OB", b"\x55" * 500)
    with pytest.raises(UnreadableObjectError) as caught:
        read_frame(loaded(tmp_path, ds))
    assert caught.value.reason == "broken-pixels"


def test_fragments_under_an_uncompressed_syntax_are_no_pixels(tmp_path: Path) -> None:
    ds = radiograph(np.arange(4096, dtype=np.uint16).reshape(64, 64))
    ds.PixelData = encapsulate([ds.PixelData])  # as long as the frame: read as pixels, all would be shifted
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = RLELossless
    path = save(ds, tmp_path).path
    path.write_bytes(path.read_bytes().replace(RLELossless.encode(), ExplicitVRLittleEndian.encode()))
    with pytest.raises(UnreadableObjectError, match="compressed, though it says not"):
        read_frame(load_header(read_instance(path)))


def test_a_deflated_bomb_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    ds = radiograph(np.zeros((64, 64), dtype=np.uint8))
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = save(ds, tmp_path).path
    _, start = read_part10_head(path)
    raw = path.read_bytes()
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    size = 1 << 30
    body = packer.compress(
        zlib.decompress(raw[start:], -zlib.MAX_WBITS) + b"\xfc\xff\xfc\xffOB\0\0" + size.to_bytes(4, "little")
    )
    zeros = bytes(1 << 24)
    body += b"".join(packer.compress(zeros) for _ in range(size >> 24)) + packer.flush()
    path.write_bytes(raw[:start] + body)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    instance = read_instance(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    with pytest.raises(UnreadableObjectError) as caught:
        load_header(instance)
    assert caught.value.reason == "absurd-size"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000  # kB


def test_a_deflated_data_set_is_inflated_whole_and_in_pieces(tmp_path: Path) -> None:
    body = np.random.default_rng(1).integers(0, 4, 9 << 20, dtype=np.uint8).tobytes()
    packer = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    (tmp_path / "x").write_bytes(b"head" + packer.compress(body) + packer.flush())
    assert inflated(tmp_path / "x", 4).read() == body
    with pytest.raises(UnreadableObjectError):
        inflated(tmp_path / "x", 4, limit=1 << 20)


def test_colours_of_a_jpeg_do_not_depend_on_the_size(tmp_path: Path) -> None:
    """RGB by the names of its components, and a JFIF marker that does not belong there."""
    pixels = np.zeros((64, 64, 3), dtype=np.uint8)
    pixels[...] = (200, 60, 30)
    data = imagecodecs.jpeg8_encode(
        pixels, level=98, colorspace="RGB", outcolorspace="RGB", subsampling="444"
    )
    at = data.find(b"\xff\xee", 0, 200)
    if at > 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    data = data[:2] + b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0" + data[2:]
    ds = photograph(pixels)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([data])
    ds["PixelData"].VR = "OB"
    one = loaded(tmp_path, ds)
    whole = read_frame(one)
    np.testing.assert_allclose(read_frame(one, halvings=1), shrink(whole, 1), atol=3)
