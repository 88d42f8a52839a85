from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from dicom_node.bundle.store import open_bundle
from dicom_node.pixels.headers import walk
from dicom_node.pixels.select import read_study
from dicom_node.records import Box
from tests.support.peers import require
from tests.support.samples import SAMPLES, TEST_SAMPLES
from tests.support.tree import ROOT

DATA = Path(os.environ.get("M3BIND_DATA", ROOT.parent / "shared" / "data"))
SHIPPED = sorted(SAMPLES.rglob("*.dcm"))
FILES = [*SHIPPED, *sorted(TEST_SAMPLES.rglob("*.dcm"))]


def test_there_is_one_study_of_every_modality() -> None:
    kinds: dict[str, set[tuple[str, str]]] = {}
    for path in SHIPPED:
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


def test_no_two_studies_share_an_identifier() -> None:
    headers = [pydicom.dcmread(path, stop_before_pixels=True) for path in FILES]
    assert len({ds.SOPInstanceUID for ds in headers}) == len(FILES)
    folders = {path.parent for path in FILES}
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "PatientID", "AccessionNumber"):
        assert len({ds[keyword].value for ds in headers}) == len(folders), keyword


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
        "LC25000",
        "COMPOSED FOR DEMONSTRATION",
        "PICKED AS A CLEAR EXAMPLE",
    ):
        assert word in text
    assert "CC0 1.0" in (TEST_SAMPLES / "ATTRIBUTION.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["ct", "pathology"])
def test_what_was_composed_says_so_itself(name: str) -> None:
    for path in (SAMPLES / name).glob("*.dcm"):
        ds = pydicom.dcmread(path, stop_before_pixels=True)
        assert ds.ImageType[0] == "DERIVED"
        assert "composed for demonstration" in ds.StudyDescription
        assert "Composed from" in ds.SeriesDescription
        assert "different" in ds.DerivationDescription
        assert "invented" in ds.DerivationDescription


def test_the_bundle_reads_the_composed_slide_tile_by_tile() -> None:
    """At its resolution its grid falls onto the tiles, and no other part holds tissue."""
    instances, _ = walk([SAMPLES / "pathology"])
    encoders = open_bundle(ROOT / "dicom_node" / "assets" / "m3bind-mini").manifest.encoders
    (view,) = read_study(instances, {"pathology": encoders["pathology"]}).views
    side = 224
    assert view.source_size == (7 * side, 7 * side)
    assert [sample.box for sample in view.samples] == [
        Box(column * side, row * side, (column + 1) * side, (row + 1) * side)
        for row in range(1, 6)
        for column in range(1, 6)
    ]


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
    script = str(ROOT / "deploy" / "make_samples.py")
    for run in (tmp_path / "a", tmp_path / "b"):
        command = [sys.executable, script, "--out", str(run / "shipped"), "--tests-out", str(run / "tests")]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "M3BIND_DATA": str(DATA)})
    for folder, kept in (("shipped", SAMPLES), ("tests", TEST_SAMPLES)):
        one, other = tmp_path / "a" / folder, tmp_path / "b" / folder
        made = _files(one)
        assert made == _files(kept)
        for name in made:
            assert filecmp.cmp(one / name, other / name, shallow=False), name
            assert filecmp.cmp(one / name, kept / name, shallow=False), name


def _files(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
