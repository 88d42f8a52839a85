"""`dicom-node analyse` as a user runs it: files in, reports out, exit status."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.demo import SAMPLES
from tests.support.bundles import TINY
from tests.support.validators import dciodvfy_errors


def analyse(*arguments: str | Path, bundle: Path = TINY) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "dicom_node.cli",
        "analyse",
        *map(str, arguments),
        "--bundle",
        str(bundle),
    ]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.peer
def test_one_json_and_one_valid_report_for_each_study(tmp_path: Path) -> None:
    run = analyse(SAMPLES, "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    told = [json.loads(path.read_text()) for path in sorted((tmp_path / "out").glob("*.json"))]
    assert sorted(study["modality"] for study in told) == ["ct", "ecg", "pathology", "retina", "xray"]
    for study in told:
        assert study["status"] == "reported"
        assert study["reason"] is None
        for finding in study["findings"]:
            assert {"id", "name", "code", "probability", "present", "evidence"} <= set(finding)
        report = tmp_path / "out" / f"{study['study_uid']}.dcm"
        assert dcmread(report).StudyInstanceUID == study["study_uid"]
        assert dciodvfy_errors(report) == []
    assert "not DICOM" in run.stdout
    assert "ATTRIBUTION.md" in run.stdout


def test_a_refused_study_is_told_with_its_reason_and_is_no_failure(tmp_path: Path) -> None:
    """An SR alone is no image: nothing to assess, but nothing went wrong either."""
    first = analyse(SAMPLES / "ecg", "--out", tmp_path / "first")
    assert first.returncode == 0, first.stderr
    (report,) = (tmp_path / "first").glob("*.dcm")
    shutil.copy(report, tmp_path / "only-a-report.dcm")
    run = analyse(tmp_path / "only-a-report.dcm", "--out", tmp_path / "out", "--json")
    assert run.returncode == 0, run.stderr
    (study,) = json.loads(run.stdout)["studies"]
    assert study["status"] == "refused"
    assert study["reason"]
    assert study["report"] is None
    assert Path(study["json"]).is_file()


def test_no_study_at_all_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    run = analyse(tmp_path / "notes.txt", "--out", tmp_path / "out")
    assert run.returncode == 1
    assert "notes.txt" in run.stdout
    assert "no DICOM study" in run.stdout


@pytest.mark.parametrize(
    ("path", "bundle", "expected"),
    [("/nonexistent/study", TINY, "there is no file"), (str(SAMPLES), Path("/nonexistent"), "bundle")],
)
def test_a_wrong_path_is_one_clear_line(tmp_path: Path, path: str, bundle: Path, expected: str) -> None:
    run = analyse(path, "--out", tmp_path, bundle=bundle)
    assert run.returncode == 1
    assert run.stderr.startswith("error:")
    assert expected in run.stderr
    assert "Traceback" not in run.stderr
