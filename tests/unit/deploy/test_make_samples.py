from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from tests.support.peers import require

ROOT = Path(__file__).resolve().parents[3]
SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
DATA = Path(os.environ.get("M3BIND_DATA", ROOT.parent / "shared" / "data"))
FILES = sorted(SAMPLES.rglob("*.dcm"))


def test_there_is_one_study_of_every_modality() -> None:
    kinds = {}
    for path in FILES:
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        kinds.setdefault(path.parent.name, set()).add((ds.StudyInstanceUID, ds.SOPClassUID.name))
    assert {folder: {name for _, name in found} for folder, found in kinds.items()} == {
        "xray": {"Computed Radiography Image Storage"},
        "ct": {"CT Image Storage"},
        "retina": {"Ophthalmic Photography 8 Bit Image Storage"},
        "ecg": {"12-lead ECG Waveform Storage"},
        "pathology": {"VL Whole Slide Microscopy Image Storage"},
    }
    assert all(len({uid for uid, _ in found}) == 1 for found in kinds.values())


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES) < 8_000_000


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_person_is_invented(path: Path) -> None:
    ds = pydicom.dcmread(path)
    assert str(ds.PatientName).startswith("Demo^")
    assert ds.PatientID.startswith("M3B-DEMO-")
    assert all(
        uid.startswith("2.25.") for uid in (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    )


def test_a_spacing_that_is_not_known_is_not_told() -> None:
    ds = pydicom.dcmread(SAMPLES / "xray" / "chest-pa.dcm")
    assert "PixelSpacing" not in ds
    assert "ImagerPixelSpacing" not in ds


def test_every_source_is_named_with_its_licence() -> None:
    text = (SAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for word in (
        "NIH Clinical Center",
        "CC BY 3.0",
        "IDRiD",
        "PTB-XL",
        "CC0 1.0",
        "COMPOSED FOR DEMONSTRATION",
    ):
        assert word in text


@pytest.mark.peer
@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_dciodvfy_finds_no_error(path: Path) -> None:
    (validator,) = require("dciodvfy")
    told = subprocess.run([validator, "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    assert lines, "dciodvfy names at least the IOD"
    assert [line for line in lines if line.startswith("Error")] == []
    assert told.returncode == 0


@pytest.mark.data
@pytest.mark.peer
@pytest.mark.skipif(not DATA.is_dir(), reason="the training data are not here: set M3BIND_DATA")
def test_making_them_again_gives_the_same_bytes(tmp_path: Path) -> None:
    require("dciodvfy")
    pytest.importorskip("tifffile", reason="needs what `pip install .[samples]` brings")
    for run in ("a", "b"):
        command = [sys.executable, str(ROOT / "deploy" / "make_samples.py"), "--out", str(tmp_path / run)]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "M3BIND_DATA": str(DATA)})
    made = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert made == sorted(p.relative_to(SAMPLES) for p in SAMPLES.rglob("*") if p.is_file())
    for name in made:
        assert filecmp.cmp(tmp_path / "a" / name, tmp_path / "b" / name, shallow=False), name
        assert filecmp.cmp(tmp_path / "a" / name, SAMPLES / name, shallow=False), name
