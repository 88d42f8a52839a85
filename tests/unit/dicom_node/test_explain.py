from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import BasicTextSRStorage, MRImageStorage
from typer.testing import CliRunner

from dicom_node.bundle.store import open_bundle
from dicom_node.cli import app
from dicom_node.config import SHIPPED_BUNDLE
from dicom_node.explain import explain
from tests.support.pixel_objects import SAMPLES, base, ct_slice, radiograph, save

ENCODERS = open_bundle(SHIPPED_BUNDLE).manifest.encoders
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


@pytest.mark.parametrize(
    ("sample", "modality", "reader"),
    [
        ("xray/chest-pa.dcm", "xray", "radiograph"),
        ("ct/slice-1.dcm", "ct", "ct"),
        ("retina/fundus-left.dcm", "retina", "retina"),
        ("ecg/resting-12-lead.dcm", "ecg", "ecg"),
        ("pathology/level-0.dcm", "pathology", "slide"),
    ],
)
def test_what_becomes_of_a_sample(sample: str, modality: str, reader: str) -> None:
    told = explain(SAMPLES / sample, ENCODERS)
    assert (told["used"], told["reader"]) == (True, reader)
    assert told["object"]["decoders"]
    (view,) = told["views"]
    assert view["modality"] == modality
    assert tuple(view["input_shape"]) == ENCODERS[modality].input_shape


def test_what_a_recording_holds() -> None:
    told = explain(SAMPLES / "ecg" / "resting-12-lead.dcm", ENCODERS)
    assert told["attributes"]["Waveforms"] == "12 channels of 5000 samples at 500 Hz, ORIGINAL"


def test_why_not(tmp_path: Path) -> None:
    localizer = ct_slice(0, 0)
    localizer.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    told = explain(save(localizer, tmp_path).path, ENCODERS)
    assert (told["used"], told["reason"]) == (False, "localizer")
    assert "LOCALIZER" in told["rule"]

    told = explain(save(base(BasicTextSRStorage, "SR"), tmp_path, "sr.dcm").path, ENCODERS)
    assert (told["rule"], told["reason"]) == (None, "not-an-image")
    told = explain(save(base(MRImageStorage, "MR"), tmp_path, "mr.dcm").path, ENCODERS)
    assert told["reason"] == "unsupported-sop-class"
    other = tmp_path / "notes.txt"
    other.write_text("no DICOM")
    told = explain(other, ENCODERS)
    assert told["used"] is False
    assert "object" not in told


def test_an_attribute_that_cannot_be_parsed_is_a_reason(tmp_path: Path) -> None:
    path = save(radiograph(np.zeros((8, 8), np.uint8)), tmp_path).path
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x28\0\x01\x01US", b"\x28\0\x01\x01U\xff", 1))  # Bits Stored
    told = explain(path, open_bundle(SHIPPED_BUNDLE).manifest.encoders)
    assert (told["used"], told["reason"]) == (False, "bad-attribute")


def test_no_patient_data_are_told(tmp_path: Path) -> None:
    ds = radiograph(GREY)
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Secret^Name", "SECRET-ID", "19010203"
    path = save(ds, tmp_path).path
    for arguments in (["explain", str(path)], ["explain", "--json", str(path)]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "xray" in result.output
        assert not any(word in result.output for word in ("Secret", "SECRET", "1901"))
    assert json.loads(result.output)["used"] is True


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "nothing.dcm")])
    assert result.exit_code == 1
    assert "there is no file" in str(result.exception)


def test_a_folder_is_told_as_one_with_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["explain", str(tmp_path)])
    assert result.exit_code == 1
    assert f"{tmp_path} is a folder" in str(result.exception)
    assert f"dicom-node analyse {tmp_path} --out" in str(result.exception)
