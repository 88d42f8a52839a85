from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import convert_color_space
from pydicom.uid import SecondaryCaptureImageStorage, VLPhotographicImageStorage

from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from dicom_node.records import StudyRead
from tests.support.pixel_objects import SAMPLES, base, encoder, photograph, put_pixels, save

ENCODERS = {"retina": encoder("retina")}
RGB = np.random.default_rng(5).integers(0, 256, (12, 16, 3), dtype=np.uint8)


def run(folder: Path, ds: Dataset) -> StudyRead:
    return read_study([save(ds, folder)], ENCODERS)


def test_the_sample_study() -> None:
    read = read_study([read_instance(SAMPLES / "retina" / "fundus-left.dcm")], ENCODERS)
    (view,) = read.views
    assert (view.laterality, view.source_size) == ("L", (427, 512))
    pixels = view.samples[0].values
    assert pixels.shape == (427, 512, 3)
    red, green, blue = pixels[100:300, 150:400].mean(axis=(0, 1))
    assert red > 2 * green > 2 * blue, "a fundus is orange: the channels are in order, and YCbCr was undone"


def test_rgb(tmp_path: Path) -> None:
    (view,) = run(tmp_path, photograph(RGB)).views
    np.testing.assert_allclose(view.samples[0].values, RGB / 255, atol=1e-6)
    assert view.laterality == "R"


def test_ybr_full_becomes_rgb(tmp_path: Path) -> None:
    ybr = convert_color_space(RGB, "RGB", "YBR_FULL")
    (view,) = run(tmp_path, photograph(ybr, "YBR_FULL")).views
    np.testing.assert_allclose(view.samples[0].values, RGB / 255, atol=0.02)


def test_planar_configuration(tmp_path: Path) -> None:
    ds = photograph(RGB)
    ds.PlanarConfiguration = 1
    ds.PixelData = np.moveaxis(RGB, 2, 0).tobytes()
    np.testing.assert_allclose(run(tmp_path, ds).views[0].samples[0].values, RGB / 255, atol=1e-6)


def test_palette(tmp_path: Path) -> None:
    ds = photograph(np.array([[0, 1], [2, 3]], dtype=np.uint8), "PALETTE COLOR")
    entries = np.array([0, 0x5555, 0xAAAA, 0xFFFF], dtype="<u2")
    for colour, table in (("Red", entries), ("Green", entries[::-1]), ("Blue", entries)):
        setattr(ds, f"{colour}PaletteColorLookupTableDescriptor", [4, 0, 16])
        setattr(ds, f"{colour}PaletteColorLookupTableData", table.tobytes())
    pixels = run(tmp_path, ds).views[0].samples[0].values
    np.testing.assert_allclose(pixels[:, :, 0], [[0, 1 / 3], [2 / 3, 1]], atol=1e-4)
    np.testing.assert_allclose(pixels[:, :, 1], [[1, 2 / 3], [1 / 3, 0]], atol=1e-4)


def test_each_frame_is_a_photograph(tmp_path: Path) -> None:
    ds = photograph(np.stack([RGB, 255 - RGB]))
    ds.NumberOfFrames = 2
    views = run(tmp_path, ds).views
    assert [v.sources[0].frame for v in views] == [1, 2]
    np.testing.assert_allclose(views[1].samples[0].values, 1 - RGB / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("sop_class", "told", "read"),
    [
        (SecondaryCaptureImageStorage, {"Modality": "OP"}, True),
        (SecondaryCaptureImageStorage, {"Modality": "OT", "BodyPartExamined": "RETINA"}, True),
        (SecondaryCaptureImageStorage, {"Modality": "OT"}, False),
        (VLPhotographicImageStorage, {"Modality": "XC", "BodyPartExamined": "EYE"}, True),
        (VLPhotographicImageStorage, {"Modality": "XC", "BodyPartExamined": "SKIN"}, False),
        (SecondaryCaptureImageStorage, {"Modality": "OPT", "BodyPartExamined": "EYE"}, False),
        (VLPhotographicImageStorage, {"Modality": "OPM"}, False),
    ],
)
def test_photographs_of_other_classes(
    tmp_path: Path, sop_class: str, told: dict[str, str], read: bool
) -> None:
    ds = put_pixels(base(sop_class, "OT"), RGB, "RGB")
    for name, value in told.items():
        setattr(ds, name, value)
    assert bool(run(tmp_path, ds).views) is read


def test_an_anatomic_region_code_tells_an_eye(tmp_path: Path) -> None:
    ds = put_pixels(base(SecondaryCaptureImageStorage, "OT"), RGB, "RGB")
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = "5665001", "SCT", "Retina"
    ds.AnatomicRegionSequence = [region]
    assert run(tmp_path, ds).views


def test_what_is_refused(tmp_path: Path) -> None:
    grey = photograph(RGB[:, :, 0], "MONOCHROME2")
    assert run(tmp_path, grey).skipped[0].reason == "not-colour"
    film = photograph(np.stack([RGB] * 17))
    film.NumberOfFrames = 17
    assert run(tmp_path, film).skipped[0].reason == "multi-frame"


def test_an_image_that_is_not_described_is_refused(tmp_path: Path) -> None:
    ds = photograph(RGB)
    del ds.PhotometricInterpretation
    (left,) = run(tmp_path, ds).skipped
    assert (left.reason, "PhotometricInterpretation" in left.message) == ("missing-attribute", True)


def test_a_black_photograph_is_refused_by_its_operation(tmp_path: Path) -> None:
    cropping = {"retina": encoder("retina", {"op": "crop_field", "threshold": 0.05})}
    read = read_study([save(photograph(np.zeros_like(RGB)), tmp_path)], cropping)
    assert [s.reason for s in read.skipped] == ["no-fundus-field"]
