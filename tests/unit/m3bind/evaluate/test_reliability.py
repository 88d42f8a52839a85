"""Platt's sigmoid, and whether what it says is so."""

import numpy as np
import pytest

from m3bind.evaluate.reliability import calibration, cut_of, platt, sigmoid

pytestmark = pytest.mark.train


def test_platt_finds_the_sigmoid_that_made_the_labels():
    random = np.random.default_rng(0)
    margins = random.normal(size=6000)
    labels = (random.random(6000) < sigmoid(3.0 * margins - 1.0)).astype(np.int64)
    slope, intercept = platt(margins, labels)
    assert slope == pytest.approx(3.0, abs=0.25)
    assert intercept == pytest.approx(-1.0, abs=0.15)


def test_platt_stays_finite_where_classes_are_apart():
    slope, intercept = platt(np.array([-1.0, -0.9, 0.9, 1.0]), np.array([0, 0, 1, 1]))
    assert np.isfinite([slope, intercept]).all()
    assert slope > 0


def test_sigmoid_does_not_overflow():
    assert sigmoid(np.array([-2000.0, 0.0, 2000.0])).tolist() == [0.0, 0.5, 1.0]


def test_calibration_tells_of_findings_with_both_classes(world):
    data, seen = world
    told = calibration(data["ct"], seen["ct"], ["ct.malignant_tumour", "ct.benign_nodule"])
    assert set(told["findings"]) == {"ct.malignant_tumour"}
    error = told["findings"]["ct.malignant_tumour"]["expected_calibration_error"]
    assert 0 <= error["value"] < 0.1
    assert len(told["curve"]) == 1


def test_a_threshold_tells_what_it_keeps_of_the_sensitivity_it_was_chosen_for(world):
    data, seen = world
    told = calibration(data["ct"], seen["ct"], ["ct.malignant_tumour"])["findings"]["ct.malignant_tumour"]
    cut = told["threshold"]
    assert cut["positives_in_calib"] == 24
    assert 0.5 < cut["probability"]["low"] <= cut["probability"]["value"] <= cut["probability"]["high"]
    assert 0.5 < cut["sensitivity"]["value"] <= 1.0
    assert cut["specificity"]["value"] == 1.0
    error = told["expected_calibration_error"]
    assert 0 <= error["perfect"] <= error["perfect_high"]


def test_no_threshold_where_the_margin_points_the_wrong_way(apart):
    data, seen = apart
    told = calibration(data["pathology"], seen["pathology"], ["pathology.adenocarcinoma"])
    assert told["findings"]["pathology.adenocarcinoma"]["threshold"] is None


@pytest.mark.parametrize("sensitivity", [0.5, 0.8, 0.9, 1.0])
def test_a_cut_is_the_highest_margin_that_reaches_the_sensitivity(sensitivity):
    margins = np.random.default_rng(2).permutation(10).astype(float)
    reaching = [m for m in margins if (margins >= m).mean() >= sensitivity - 1e-9]
    assert cut_of(margins, sensitivity) == max(reaching)
