"""Platt's sigmoid, and whether what it says is so."""

import numpy as np
import pytest

from m3bind.evaluate.reliability import calibration, platt, sigmoid

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
