"""`analyse` over folders as they are: pipes, its own earlier output, studies that break it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydicom import dcmread
from structlog.testing import capture_logs

from dicom_node import analyse as module
from dicom_node.analyse import Outcome, analyse, find_studies, is_own_report
from dicom_node.engine import Engine
from dicom_node.errors import ConfigError, NotDicomError
from dicom_node.pipeline import Assessor, assess_study
from dicom_node.pixels.decoders.registry import FrameDecoder
from dicom_node.pixels.headers import read_instance, walk
from dicom_node.records import Assessment, Instance
from dicom_node.tables import repeated_lines
from tests.support.bundles import TINY
from tests.support.pixel_objects import SAMPLES

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(TINY, providers=["cpu"], threads=1)


@pytest.fixture
def ecg(tmp_path: Path) -> Path:
    """A folder with one study."""
    folder = tmp_path / "in"
    shutil.copytree(SAMPLES / "ecg", folder)
    return folder


def run(engine: Engine, paths: Sequence[Path], out: Path) -> list[Outcome]:
    return analyse(find_studies(paths, out=out), engine, out, now=lambda: NOW)


def report_uid(outcome: Outcome) -> str:
    assert outcome.error is None
    assert outcome.report_path is not None
    return str(dcmread(outcome.report_path).SOPInstanceUID)


@pytest.mark.timeout(30)
def test_pipes_and_sockets_are_told_and_never_opened(ecg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ecg)  # the name of a socket may not be long
    os.mkfifo(ecg / "a-pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a-socket")
        found = find_studies([ecg, Path("/dev/zero")])
    assert len(found.studies) == 1
    told = {item.path.name: item.reason for item in found.not_dicom}
    assert (told["a-pipe"], told["a-socket"], told["zero"]) == ("not-a-file",) * 3
    with pytest.raises(NotDicomError):
        read_instance(ecg / "a-pipe")


def test_a_folder_that_cannot_be_listed_is_told(
    tmp_path: Path, ecg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ecg / "closed").mkdir()
    listing = os.scandir

    def refusing(path: str) -> object:
        """The tests may run as root, whom no permission stops."""
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refusing)
    instances, others = walk([tmp_path])
    assert len(instances) == 1
    assert ("closed", "cannot-open") in [(item.path.name, item.reason) for item in others]


def test_a_second_run_into_a_folder_of_the_input_makes_the_same_report(engine: Engine, ecg: Path) -> None:
    (first,) = run(engine, [ecg], ecg / "reports")
    uid = report_uid(first)
    found = find_studies([ecg], out=ecg / "reports")
    assert not [item for item in found.not_dicom if item.path.suffix == ".json"]
    (second,) = run(engine, [ecg], ecg / "reports")
    assert report_uid(second) == uid


def test_a_report_that_is_there_already_is_kept(engine: Engine, ecg: Path, tmp_path: Path) -> None:
    """Made again it would hold another time under the same SOP Instance UID."""
    found, out = find_studies([ecg]), tmp_path / "out"
    (first,) = analyse(found, engine, out, now=lambda: NOW)
    assert first.report_path is not None
    kept = first.report_path.read_bytes()
    (second,) = analyse(found, engine, out, now=lambda: NOW + timedelta(hours=1))
    assert second.report_path == first.report_path
    assert first.report_path.read_bytes() == kept
    assert sorted(path.suffix for path in out.iterdir()) == [".dcm", ".json"]


def test_a_report_of_another_version_replaces_the_one_that_is_there(
    engine: Engine, ecg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = run(engine, [ecg], tmp_path)
    uid = report_uid(first)
    monkeypatch.setattr("dicom_node.pipeline.version", lambda _package: "9.9.9")
    (second,) = run(engine, [ecg], tmp_path)
    assert report_uid(second) != uid


@pytest.mark.parametrize("left", [b"", b"cut", b"\0" * 128 + b"DICM"])
def test_what_is_no_report_is_replaced(engine: Engine, ecg: Path, tmp_path: Path, left: bytes) -> None:
    (study,) = find_studies([ecg]).studies
    (tmp_path / f"{study}.dcm").write_bytes(left)
    (outcome,) = run(engine, [ecg], tmp_path)
    assert outcome.report_path == tmp_path / f"{study}.dcm"
    assert report_uid(outcome).startswith("2.25.")


def test_our_own_reports_among_the_input_are_told_as_skipped(
    engine: Engine, tmp_path: Path, ecg: Path
) -> None:
    (first,) = run(engine, [ecg], ecg)  # beside the study: nothing can be left out by its folder
    uid = report_uid(first)
    (second,) = run(engine, [ecg], tmp_path / "elsewhere")
    assert report_uid(second) == uid
    assert second.json_path is not None
    told = json.loads(second.json_path.read_text())
    assert [(s["sop_instance_uid"], s["reason"]) for s in told["skipped"]] == [(uid, "own-report")]


def test_a_report_of_somebody_else_is_not_taken_for_ours(engine: Engine, tmp_path: Path, ecg: Path) -> None:
    (outcome,) = run(engine, [ecg], tmp_path / "out")
    assert outcome.report_path is not None
    assert is_own_report(read_instance(outcome.report_path))
    other = dcmread(outcome.report_path)
    other.Manufacturer = "Somebody"
    other.save_as(tmp_path / "other.dcm")
    assert not is_own_report(read_instance(tmp_path / "other.dcm"))
    assert not any(is_own_report(instance) for instance in walk([ecg])[0])


@pytest.mark.parametrize("kind", [ZeroDivisionError, ValueError, MemoryError, OSError])
def test_a_study_that_breaks_does_not_stop_the_others_and_quotes_nothing(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    patient = "^".join(("DOE", "JANE"))
    paths = [SAMPLES / "ecg", SAMPLES / "xray"]
    broken, *_ = find_studies(paths).studies

    def breaking(
        assessor: Assessor, study_uid: str, instances: Sequence[Instance], decode: FrameDecoder
    ) -> Assessment:
        if study_uid == broken:
            raise kind(f"Invalid value {patient}")
        return assess_study(assessor, study_uid, instances, decode)

    monkeypatch.setattr(module, "assess_study", breaking)
    with capture_logs() as logs:
        outcomes = run(engine, paths, tmp_path)
    failed, done = outcomes
    assert failed.study_uid == broken
    assert failed.error is not None
    assert kind.__name__ in failed.error
    assert patient not in failed.error + str(logs)
    assert "in breaking" in str(logs)
    assert done.error is None
    assert done.report_path is not None


def test_an_output_that_cannot_be_a_folder_is_one_clear_error(
    engine: Engine, tmp_path: Path, ecg: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        run(engine, [ecg], tmp_path / "file")


def test_a_file_of_an_instance_that_came_before_is_told(ecg: Path) -> None:
    (original,) = ecg.glob("*.dcm")
    shutil.copy(original, ecg / "zz-again.dcm")
    found = find_studies([ecg])
    assert [len(members) for members in found.studies.values()] == [1]
    assert found.repeated == ((ecg / "zz-again.dcm", original),)
    (line,) = repeated_lines(found.repeated)
    assert "zz-again.dcm" in line
    assert original.name in line
