from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, get_frame
from pydicom.pixels.processing import convert_color_space
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    OphthalmicPhotography8BitImageStorage,
    RLELossless,
)

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decode import frame_count, frame_size, read_frame, read_frames, unit_range
from dicom_node.pixels.decoders.registry import installed
from dicom_node.pixels.ground import Loaded, load_header
from dicom_node.pixels.headers import read_instance
from tests.support.pixel_objects import SAMPLES, base, put_pixels, radiograph, save
from tests.support.samples import OTHER_TISSUE

GREY = np.random.default_rng(8).integers(0, 4096, (3, 20, 30), dtype=np.uint16)


def loaded(folder: Path, ds: Dataset) -> Loaded:
    return load_header(save(ds, folder))


def film() -> Dataset:
    ds = radiograph(GREY, bits=12)
    ds.NumberOfFrames = 3
    return ds


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=95)
    return buffer.getvalue()


def test_what_is_installed_covers_the_usual_syntaxes() -> None:
    usual = {ExplicitVRLittleEndian, RLELossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless}
    assert usual | {JPEG2000Lossless, HTJ2KLossless} <= set(installed())
    assert MPEG2MPML not in installed()


def test_single_frames(tmp_path: Path) -> None:
    one = loaded(tmp_path, film())
    assert frame_count(one) == 3
    assert frame_size(one) == (20, 30)
    np.testing.assert_array_equal(read_frame(one, 2), GREY[2])
    np.testing.assert_array_equal(np.stack(list(read_frames(one, [1, 0]))), GREY[[1, 0]])


@pytest.mark.parametrize("index", [3, -1])
def test_a_frame_that_is_not_there(tmp_path: Path, index: int) -> None:
    with pytest.raises(UnreadableObjectError) as caught:
        read_frame(loaded(tmp_path, film()), index)
    assert caught.value.reason == "no-such-frame"


@pytest.mark.parametrize(
    ("path", "indices"),
    [
        (OTHER_TISSUE / "level-0.dcm", (0, 33, 129)),
        (OTHER_TISSUE / "level-1.dcm", (0, 5)),
        (SAMPLES / "pathology" / "level-0.dcm", (0, 8, 48)),
        (SAMPLES / "retina" / "fundus-left.dcm", (0,)),
    ],
    ids=["rgb", "halved", "quartered", "jfif"],
)
def test_compressed_frames_equal_those_of_pydicom(path: Path, indices: tuple[int, ...]) -> None:
    """RGB with an Adobe marker, YCbCr with chroma halved and quartered, YCbCr with JFIF."""
    one = load_header(read_instance(path))
    for index, frame in zip(indices, read_frames(one, indices), strict=True):
        other = pixel_array(path, index=index).astype(int)
        difference = np.abs(frame - other)
        assert difference.mean() < 0.6, "decoders round and interpolate chroma differently"
        assert np.quantile(difference, 0.99) <= 8


@pytest.mark.parametrize("marker", [True, False])
@pytest.mark.parametrize("rgb", [True, False])
def test_the_colours_of_a_jpeg(tmp_path: Path, marker: bool, rgb: bool) -> None:
    """Stored as RGB or YCbCr, told by an Adobe marker or by the photometric interpretation alone."""
    pixels = np.zeros((16, 16, 3), dtype=np.uint8)
    pixels[:, :] = (200, 60, 30)
    stored = pixels if rgb else convert_color_space(pixels, "RGB", "YBR_FULL")
    data = imagecodecs.jpeg8_encode(
        stored, level=98, colorspace="RGB" if rgb else "YCBCR", outcolorspace="RGB" if rgb else "YCBCR",
        subsampling="444",
    )  # fmt: skip
    data = _without(data, 0xE0) if marker else _without(_without(data, 0xE0), 0xEE)
    if marker and not rgb:
        data = data[:2] + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01" + data[2:]
    ds = put_pixels(
        base(OphthalmicPhotography8BitImageStorage, "OP"), pixels, "RGB" if rgb else "YBR_FULL_422"
    )
    if marker:
        ds.PhotometricInterpretation = "YBR_FULL_422" if rgb else "RGB"  # the marker knows better
    ds.PixelData = encapsulate([data])
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    np.testing.assert_allclose(read_frame(loaded(tmp_path, ds)), pixels, atol=4)


def _without(data: bytes, marker: int) -> bytes:
    """A JPEG stream without its segments of one kind."""
    at = data.find(bytes((0xFF, marker)), 0, 200)
    if at < 0:
        return data
    return data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]


@pytest.mark.parametrize("signed", [False, True])
def test_twelve_bit_jpeg(tmp_path: Path, signed: bool) -> None:
    rows, columns = np.mgrid[0:16, 0:32]
    pixels = (rows * 40 + columns * 20).astype(np.int16)
    if signed:
        pixels[8:] = -1000  # blocks of their own: a jump from 0 to -1 is one from 0 to 4095 in the stream
    stored = (pixels & 0xFFF).astype(np.uint16)
    ds = radiograph(pixels if signed else stored, bits=12)
    ds.PixelData = encapsulate([imagecodecs.jpeg8_encode(stored, level=99, bitspersample=12)])
    ds.file_meta.TransferSyntaxUID = JPEGExtended12Bit
    np.testing.assert_allclose(read_frame(loaded(tmp_path, ds)).astype(int), pixels, atol=12)


def test_a_deflated_data_set(tmp_path: Path) -> None:
    ds = film()
    ds.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(read_frame(loaded(tmp_path, ds), 1), GREY[1])
    del ds.PixelData
    with pytest.raises(UnreadableObjectError) as caught:
        read_frame(loaded(tmp_path, ds))
    assert caught.value.reason == "no-pixel-data"


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_lossless_streams(tmp_path: Path, syntax: str) -> None:
    encode = {JPEG2000Lossless: imagecodecs.jpeg2k_encode, JPEGLSLossless: imagecodecs.jpegls_encode}[syntax]
    options = {"codecformat": "J2K", "level": 0} if syntax == JPEG2000Lossless else {}
    ds = film()
    ds.PixelData = encapsulate([encode(frame, **options) for frame in GREY])
    ds.file_meta.TransferSyntaxUID = syntax
    np.testing.assert_array_equal(np.stack(list(read_frames(loaded(tmp_path, ds), [2, 0]))), GREY[[2, 0]])


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 3)])
def test_rle(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(1).integers(0, 3, shape).astype(np.uint8)
    ds = radiograph(pixels) if len(shape) == 2 else put_pixels(radiograph(GREY[0]), pixels, "RGB")
    ds.compress(RLELossless)
    np.testing.assert_array_equal(read_frame(loaded(tmp_path, ds)), pixels)


def test_damaged_rle_ends_in_an_input_error(tmp_path: Path) -> None:
    ds = radiograph(GREY[0])
    ds.compress(RLELossless)
    rng = np.random.default_rng(6)
    good = get_frame(ds.PixelData, 0, number_of_frames=1)
    for _ in range(200):
        data = np.frombuffer(good, dtype=np.uint8).copy()
        data[rng.integers(0, len(data), 6)] = rng.integers(0, 256, 6)
        ds.PixelData = encapsulate([data.tobytes()])
        try:
            assert read_frame(loaded(tmp_path, ds)).shape == (20, 30)
        except UnreadableObjectError as error:
            assert error.reason == "broken-pixels"  # noqa: PT017 - either ending is right


def test_frames_in_fragments_with_an_extended_offset_table(tmp_path: Path) -> None:
    frames = [imagecodecs.jpegls_encode(frame) for frame in GREY]
    ds = film()
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    ds.file_meta.TransferSyntaxUID = JPEGLSLossless
    np.testing.assert_array_equal(read_frame(loaded(tmp_path, ds), 2), GREY[2])


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEG2000Lossless, JPEGLSLossless])
def test_a_stream_that_claims_gigabytes_is_not_decoded(tmp_path: Path, syntax: str) -> None:
    small = np.zeros((20, 30), dtype=np.uint8)
    if syntax == JPEG2000Lossless:
        data = bytearray(imagecodecs.jpeg2k_encode(small, codecformat="J2K"))
        data[8:16] = (60000).to_bytes(4, "big") * 2
    else:
        data = bytearray(jpeg(small) if syntax == JPEGBaseline8Bit else imagecodecs.jpegls_encode(small))
        at = data.index(b"\xff\xc0" if syntax == JPEGBaseline8Bit else b"\xff\xf7") + 5
        data[at : at + 4] = (60000).to_bytes(2, "big") * 2
    ds = radiograph(small)
    ds.PixelData = encapsulate([bytes(data)])
    ds.file_meta.TransferSyntaxUID = syntax

    def forbidden(*_: object) -> np.ndarray:
        raise AssertionError("it was decoded")

    with pytest.raises(UnreadableObjectError, match="60000 x 60000"):
        read_frame(load_header(save(ds, tmp_path), forbidden))


def test_unit_range_uses_the_bits_stored(tmp_path: Path) -> None:
    one = loaded(tmp_path, film())
    np.testing.assert_allclose(unit_range(one, read_frame(one)), GREY[0] / 4095, atol=1e-6)


def test_no_decoder(tmp_path: Path) -> None:
    ds = film()
    ds.PixelData = encapsulate([b"\0" * 10])
    ds.file_meta.TransferSyntaxUID = MPEG2MPML
    with pytest.raises(UnsupportedObjectError) as caught:
        read_frame(loaded(tmp_path, ds))
    assert caught.value.reason == "transfer-syntax"


@pytest.mark.parametrize("keep", [2, 30, 200, 500])
def test_a_jpeg_cut_short(tmp_path: Path, keep: int) -> None:
    pixels = (GREY[0] // 16).astype(np.uint8)
    ds = radiograph(pixels)
    data = jpeg(pixels)
    assert len(data) > keep
    ds.PixelData = encapsulate([data[:keep]])
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    one = loaded(tmp_path, ds)
    try:
        assert read_frame(one).shape == pixels.shape, "decoders may fill what is missing"
    except UnreadableObjectError as error:
        assert error.reason == "broken-pixels"  # noqa: PT017 - either ending is right


def test_a_header_that_differs_from_the_stream(tmp_path: Path) -> None:
    ds = radiograph(np.zeros((20, 30), dtype=np.uint8))
    ds.PixelData = encapsulate([jpeg(np.zeros((64, 64), dtype=np.uint8))])
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(UnreadableObjectError) as caught:
        read_frame(loaded(tmp_path, ds))
    assert caught.value.reason == "broken-pixels"


def test_a_file_that_is_gone_is_no_fault_of_its_content(tmp_path: Path) -> None:
    one = loaded(tmp_path, film())
    one.instance.path.unlink()
    with pytest.raises(FileNotFoundError):
        read_frame(one)
