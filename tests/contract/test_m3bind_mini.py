"""The bundle that ships: sealed, small enough to be cloned, better than chance in every modality, and its
card says what findings.json says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import dicom_node
from dicom_node.bundle.store import Bundle, open_bundle
from dicom_node.engine import Engine

SHIPPED = Path(dicom_node.__file__).parent / "assets" / "m3bind-mini"
MODALITIES = {"xray", "ct", "retina", "ecg", "pathology"}


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return open_bundle(SHIPPED)


def test_it_holds_all_five_modalities(bundle: Bundle) -> None:
    assert bundle.identity.name == "m3bind-mini"
    assert set(bundle.manifest.encoders) == set(bundle.scope) == MODALITIES
    assert {finding.modality for finding in bundle.findings} == MODALITIES
    names = {finding.name for finding in bundle.findings}
    assert {"Pneumonia", "Lung cancer", "Diabetic retinopathy", "Abnormal ECG", "Adenocarcinoma"} <= names


def test_it_is_small_enough_for_a_clone(bundle: Bundle) -> None:
    assert sum(p.stat().st_size for p in bundle.root.rglob("*") if p.is_file()) <= 40_000_000


def test_nothing_lies_in_it_unproven(bundle: Bundle) -> None:
    there = {p.relative_to(bundle.root).as_posix() for p in bundle.root.rglob("*") if p.is_file()}
    assert there == {*bundle.manifest.files, "bundle.json"}


def test_whatever_it_reports_is_measured_and_told_from_chance(bundle: Bundle) -> None:
    reported = [finding for finding in bundle.findings if finding.enabled]
    assert {finding.modality for finding in reported} == MODALITIES
    for finding in reported:
        assert finding.measured is not None
        assert finding.measured.auc >= 0.70
        assert finding.measured.auc_ci[0] > 0.5
        assert finding.measured.positives >= 8


def test_every_threshold_of_format_2_tells_what_it_was_chosen_for(bundle: Bundle) -> None:
    for finding in bundle.findings:
        if bundle.manifest.format == 1 or not finding.enabled:
            continue
        point = finding.operating_point
        assert point is not None
        assert 0.5 <= point.sensitivity_target < 1
        assert (point.chosen_on, point.measured_on) == ("calib", "val")
        for part in (point.sensitivity, point.specificity):
            assert part.ci[0] <= part.value <= part.ci[1]
            assert part.n >= 8


def test_the_card_tells_what_is_not_reported_and_why(bundle: Bundle) -> None:
    card = (bundle.root / "MODEL_CARD.md").read_text("utf-8")
    metrics = bundle.manifest.provenance.metrics
    silent = metrics["not_reported" if bundle.manifest.format == 1 else "without_code"]
    assert "ct.benign_nodule" in {each["id"] for each in silent}
    assert not {each["id"] for each in silent} & {finding.id for finding in bundle.findings}
    for each in silent:
        row = next(line for line in card.splitlines() if f"`{each['id']}`" in line)
        assert each["why"] in row
        assert each["auc"] is None or f"{each['auc']['value']:.3f}" in row
    for finding in bundle.findings:
        if not finding.enabled:
            assert finding.disabled_because is not None
            row = next(line for line in card.splitlines() if f"(`{finding.id}`)" in line)
            assert finding.disabled_because in row


def test_the_card_tells_both_commits(bundle: Bundle) -> None:
    card = (bundle.root / "MODEL_CARD.md").read_text("utf-8")
    provenance = bundle.manifest.provenance
    assert f"`{provenance.commit}`" in card
    assert f"`{provenance.metrics['sealed_by']}`" in card
    assert ("uncommitted changes" in card) == provenance.commit.endswith("-dirty")


def test_its_self_test_is_strict_and_covers_evidence(bundle: Bundle) -> None:
    assert bundle.manifest.selftest.min_cosine >= 0.99999
    with np.load(bundle.path(bundle.manifest.selftest.file)) as sealed:
        for modality in MODALITIES:
            given, evidence = sealed[f"{modality}.input"], sealed[f"{modality}.evidence"]
            assert len(given) == len(evidence) >= 2
            assert evidence.shape[3] == bundle.manifest.dimension


def test_the_card_tells_what_was_measured(bundle: Bundle) -> None:
    card = (bundle.root / "MODEL_CARD.md").read_text("utf-8")
    assert "Not a medical device" in card
    for finding in bundle.findings:
        measured = finding.measured
        if measured is None:
            assert not finding.enabled
            continue
        row = next(line for line in card.splitlines() if f"(`{finding.id}`)" in line)
        told = re.search(r"\| (\d+) \| (\d+) \| (\S+) \((\S+) to (\S+)\)", row)
        assert told is not None
        figures = [measured.n, measured.positives, measured.auc, *measured.auc_ci]
        assert [float(each) for each in told.groups()] == pytest.approx(figures, abs=0.0011)
    for source in bundle.manifest.provenance.data:
        assert source in card


def test_it_passes_its_self_test_here(bundle: Bundle) -> None:
    engine = Engine.load(bundle.root, providers=["cpu"], threads=1)
    assert engine.embed_texts(["pneumonia"]).shape == (1, bundle.manifest.dimension)
