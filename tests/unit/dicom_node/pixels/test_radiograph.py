from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_rescale, apply_windowing
from pydicom.uid import DigitalXRayImageStorageForProcessing

from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from dicom_node.records import Box, StudyRead
from tests.support.pixel_objects import SAMPLES, encoder, radiograph, save

ENCODERS = {"xray": encoder("radiograph")}
RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def run(folder: Path, *objects: Dataset) -> StudyRead:
    return read_study([save(ds, folder) for ds in objects], ENCODERS)


def values(folder: Path, ds: Dataset) -> NDArray[Any]:
    read = run(folder, ds)
    assert read.skipped == ()
    return read.views[0].samples[0].values


def refused(folder: Path, ds: Dataset) -> str:
    read = run(folder, ds)
    assert read.views == ()
    return read.skipped[0].reason


def test_the_sample_study() -> None:
    read = read_study([read_instance(SAMPLES / "xray" / "chest-pa.dcm")], ENCODERS)
    (view,) = read.views
    (sample,) = view.samples
    assert (view.modality, view.view_position, view.source_size) == ("xray", "PA", (400, 400))
    assert sample.box == Box(0, 0, 400, 400)
    assert sample.values.dtype == np.float32
    assert 0 <= sample.values.min() < 0.1
    assert 0.9 < sample.values.max() <= 1
    assert sample.source == view.sources[0]
    assert sample.source.frame is None


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("rescale", [(1, 0), (0.5, -300)])
def test_windows_equal_those_of_pydicom(tmp_path: Path, function: str, rescale: tuple[float, float]) -> None:
    ds = radiograph(RAMP, bits=12)
    ds.RescaleSlope, ds.RescaleIntercept = rescale
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = [700, 1], [900, 2], function
    slow = apply_windowing(apply_rescale(RAMP, ds), ds)
    low, high = (v * rescale[0] + rescale[1] for v in (0, 4095))
    np.testing.assert_allclose(values(tmp_path, ds), (slow - low) / (high - low), atol=1e-5)


def test_monochrome1_is_the_negative(tmp_path: Path) -> None:
    pair = []
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        ds = radiograph(RAMP, photometric, bits=12)
        ds.WindowCenter, ds.WindowWidth = 2000, 3000
        pair.append(values(tmp_path, ds))
    np.testing.assert_allclose(pair[0], 1 - pair[1], atol=1e-6)
    assert pair[0][0, 0] == 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("sign", [1, -1])
def test_bone_is_white_in_a_film_for_processing(tmp_path: Path, photometric: str, sign: int) -> None:
    """Sign -1: the higher the value, the less of the beam came through (PS3.3 C.8.11.3.1.2)."""
    ds = radiograph(RAMP, photometric, bits=12)
    ds.SOPClassUID = DigitalXRayImageStorageForProcessing
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", sign
    bone = -1 if sign == -1 else 0
    read = run(tmp_path, ds)
    (view,) = read.views
    shown = view.samples[0].values
    assert shown.flat[bone] == pytest.approx(1.0)
    assert shown.flat[-1 - bone] == pytest.approx(0.0)
    told = any("disagree" in note for note in view.notes)
    assert told == ((photometric == "MONOCHROME1") != (sign == 1))


@pytest.mark.parametrize("first", [0, 500])
def test_a_voi_table_wins_over_a_window(tmp_path: Path, first: int) -> None:
    table = Dataset()
    table.LUTDescriptor = [1024, first, 10]
    table["LUTDescriptor"].VR = "US"
    table.LUTData = [1023 - v for v in range(1024)]
    table["LUTData"].VR = "US"
    ds = radiograph(RAMP, bits=12)
    ds.VOILUTSequence = [table]
    ds.WindowCenter, ds.WindowWidth = 1, 1
    wanted = [1023 - min(max(int(v) - first, 0), 1023) for v in RAMP.ravel()]
    np.testing.assert_allclose(values(tmp_path, ds).ravel(), np.array(wanted) / 1023, atol=1e-6)


def test_eight_bits_without_a_window_keep_their_range(tmp_path: Path) -> None:
    pixels = np.array([[51, 102], [153, 204]], dtype=np.uint8)
    np.testing.assert_allclose(values(tmp_path, radiograph(pixels)), pixels / 255, atol=1e-6)


def test_more_bits_without_a_window_are_stretched_and_that_is_told(tmp_path: Path) -> None:
    (view,) = run(tmp_path, radiograph(RAMP // 4 + 100, bits=12)).views
    assert view.samples[0].values.min() == 0
    assert view.samples[0].values.max() == 1
    assert "No window" in view.notes[0]


def test_signed_pixels(tmp_path: Path) -> None:
    ds = radiograph(np.array([[-1000, 0], [500, 1000]], dtype=np.int16))
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = 0, 2000, "LINEAR_EXACT"
    np.testing.assert_allclose(values(tmp_path, ds), [[0, 0.5], [0.75, 1]], atol=1e-6)


def test_laterality_and_position(tmp_path: Path) -> None:
    ds = radiograph(RAMP, bits=12)
    ds.Laterality, ds.ViewPosition = "L", "AP"
    (view,) = run(tmp_path, ds).views
    assert (view.laterality, view.view_position) == ("L", "AP")


def seen_from(position: str | None, code: tuple[str, str] | None, rows: str | None) -> Dataset:
    ds = radiograph(RAMP, bits=12)
    ds.ViewPosition = position
    if code is not None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = *code, "x"
        ds.ViewCodeSequence = [item]
    if rows is not None:
        ds.PatientOrientation = [rows, "F"]
    return ds


@pytest.mark.parametrize(
    ("position", "code", "rows"),
    [
        *(
            (position, None, None)
            for position in ("LL", "RL", "LATERAL", "LLO", "RLO", "LAT", "RIGHT LATERAL")
        ),
        ("", ("399067008", "SCT"), None),
        ("UNKNOWN", ("399173006", "SCT"), "L"),
        (None, ("R-10232", "SRT"), None),
        (None, None, "P"),
        ("", None, "A"),
        ("LL", ("399033003", "SCT"), "L"),
    ],
)
def test_a_lateral_view_is_not_taken_for_a_frontal_one(
    tmp_path: Path, position: str | None, code: tuple[str, str] | None, rows: str | None
) -> None:
    assert refused(tmp_path, seen_from(position, code, rows)) == "lateral-view"


@pytest.mark.parametrize(
    ("position", "code", "rows"),
    [
        *((position, None, None) for position in ("PA", "AP", "", None, "RLD", "LLD", "FRONTAL")),
        ("", ("399033003", "SCT"), None),
        (None, ("272479007", "SCT"), "P"),
        (None, None, "L"),
        (None, None, "R"),
        ("PA", None, "P"),
    ],
)
def test_a_frontal_view_is_read(
    tmp_path: Path, position: str | None, code: tuple[str, str] | None, rows: str | None
) -> None:
    assert len(run(tmp_path, seen_from(position, code, rows)).views) == 1


def test_beside_a_lateral_view_the_frontal_one_is_judged(tmp_path: Path) -> None:
    frontal = seen_from("PA", None, None)
    read = run(tmp_path, seen_from("LL", None, None), frontal)
    assert [view.sources[0].sop_instance_uid for view in read.views] == [frontal.SOPInstanceUID]
    assert [skipped.reason for skipped in read.skipped] == ["lateral-view"]


def test_what_is_refused(tmp_path: Path) -> None:
    film = radiograph(np.zeros((2, 4, 4), dtype=np.uint8))
    film.NumberOfFrames = 2
    assert refused(tmp_path, film) == "multi-frame"
    assert refused(tmp_path, radiograph(np.zeros((4, 4, 3), dtype=np.uint8), "RGB")) == "not-monochrome"
    huge = radiograph(RAMP)
    huge.Rows = huge.Columns = 65000
    assert refused(tmp_path, huge) == "absurd-size"
    short = radiograph(RAMP)
    short.PixelData = short.PixelData[:100]
    assert refused(tmp_path, short) == "broken-pixels"
    empty = radiograph(RAMP)
    del empty.PixelData
    assert refused(tmp_path, empty) == "no-pixel-data"
    odd = radiograph(RAMP)
    odd.WindowCenter, odd.WindowWidth, odd.VOILUTFunction = 1, 2, "CURVED"
    assert refused(tmp_path, odd) == "bad-attribute"
    nothing = radiograph(RAMP)
    del nothing.Rows
    assert refused(tmp_path, nothing) == "missing-attribute"


def test_messages_hold_no_patient_data(tmp_path: Path) -> None:
    ds = radiograph(RAMP)
    ds.PixelData = b"\0\0"
    assert "Nobody" not in run(tmp_path, ds).skipped[0].message
