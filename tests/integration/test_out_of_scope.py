"""What the shipped bundle says of what it was made for, and of what it was not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread

import dicom_node
from dicom_node.analyse import Outcome, analyse, find_studies
from dicom_node.engine import Engine
from dicom_node.records import Assessment, Presence, Status
from tests.support.samples import MODALITIES, OTHER_TISSUE, SAMPLES

SHIPPED = Path(dicom_node.__file__).parent / "assets" / "m3bind-mini"
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(SHIPPED, providers=["cpu"], threads=1)


def judge(engine: Engine, paths: Sequence[Path], out: Path) -> tuple[Outcome, Assessment]:
    """Exactly one study lies under `paths`."""
    (outcome,) = analyse(find_studies(paths), engine, out, now=lambda: NOW)
    assert outcome.error is None
    assert outcome.assessment is not None
    return outcome, outcome.assessment


def test_another_tissue_gets_a_reason_and_no_report(engine: Engine, tmp_path: Path) -> None:
    outcome, assessment = judge(engine, [OTHER_TISSUE], tmp_path)
    assert assessment.modality == "pathology"
    assert assessment.status is Status.OUT_OF_SCOPE
    assert "pathology encoder was made for" in (assessment.reason or "")
    assert outcome.report_path is None
    assert [path.name for path in tmp_path.iterdir()] == [f"{outcome.study_uid}.json"]
    told = json.loads((tmp_path / f"{outcome.study_uid}.json").read_text("utf-8"))
    assert told["status"] == "out_of_scope"
    assert told["reason"] == assessment.reason
    assert told["findings"] == []


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_shipped_sample_is_in_scope(engine: Engine, modality: str, tmp_path: Path) -> None:
    outcome, assessment = judge(engine, [SAMPLES / modality], tmp_path)
    assert assessment.status is Status.REPORTED
    assert outcome.report_path is not None
    assert dcmread(outcome.report_path).StudyInstanceUID == outcome.study_uid


SHOWS = {
    "xray": "Pneumonia",
    "ct": "Lung cancer",
    "retina": "Diabetic retinopathy",
    "ecg": "Abnormal ECG",
    "pathology": "Adenocarcinoma",
}
"""What the makers of each sample's source say that it shows (ATTRIBUTION.md)."""


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_shipped_sample_is_found_to_show_something_of_what_it_shows(
    engine: Engine, modality: str, tmp_path: Path
) -> None:
    _, assessment = judge(engine, [SAMPLES / modality], tmp_path)
    assert SHOWS[modality] in {f.name for f in assessment.findings if f.presence is Presence.PRESENT}


def test_the_composed_slide_shows_adenocarcinoma_where_its_tiles_do(engine: Engine, tmp_path: Path) -> None:
    """The lower right three by three of its five by five tiles (224 pixels, margin one tile) are benign."""
    _, assessment = judge(engine, [SAMPLES / "pathology"], tmp_path)
    present = [finding for finding in assessment.findings if finding.presence is Presence.PRESENT]
    assert "pathology.adenocarcinoma" in {finding.id for finding in present}
    # A bundle may name the organ too, which is the lung: nothing else is there.
    assert {finding.id for finding in present} <= {
        "pathology.adenocarcinoma",
        "pathology.lung_adenocarcinoma",
    }
    for evidence in (each for finding in present for each in finding.evidence):
        assert evidence.outline is not None
        inside = [
            (column, row)
            for column, row in evidence.outline
            if 224 <= column <= 6 * 224 and 224 <= row <= 6 * 224 and not (column > 3 * 224 and row > 3 * 224)
        ]
        assert len(inside) == len(evidence.outline), "on tissue, and not in the benign corner"
    assert all(finding.evidence for finding in present)


def test_a_slide_in_scope_does_not_bring_in_another(engine: Engine, tmp_path: Path) -> None:
    """Two studies at once: each is judged by itself."""
    outcomes = analyse(find_studies([OTHER_TISSUE, SAMPLES / "pathology"]), engine, tmp_path, now=lambda: NOW)
    judged = [outcome.assessment.status for outcome in outcomes if outcome.assessment is not None]
    assert judged == [Status.OUT_OF_SCOPE, Status.REPORTED]
