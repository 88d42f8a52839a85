from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pixel_objects import SAMPLES, radiograph, save
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    MPEG2MPML,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decode import frame_count, frame_size, installed, read_frame, read_frames, unit_range
from dicom_node.pixels.ground import Loaded, load_header
from dicom_node.pixels.headers import read_instance

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


def test_compressed_frames_equal_those_of_pydicom() -> None:
    path = SAMPLES / "pathology" / "level-0.dcm"
    every = pixel_array(path)
    one = load_header(read_instance(path))
    for index in (0, 33, 129):
        np.testing.assert_array_equal(read_frame(one, index), every[index])


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
