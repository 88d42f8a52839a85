import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.bundle.catalogue import Calibration
from dicom_node.findings.calibrate import fit_platt, margin_at, probability, sigmoid


@given(st.floats(-1e6, 1e6))
def test_sigmoid_is_symmetric_and_bounded(x: float) -> None:
    assert 0.0 <= sigmoid(x) <= 1.0
    assert sigmoid(x) + sigmoid(-x) == pytest.approx(1.0)


@given(st.floats(0.01, 0.99), st.floats(0.1, 50), st.floats(-10, 10))
def test_margin_at_is_the_inverse(level: float, slope: float, intercept: float) -> None:
    calibration = Calibration(slope=slope, intercept=intercept)
    assert probability(margin_at(level, calibration), calibration) == pytest.approx(level, abs=1e-6)


def test_certainty_has_no_margin() -> None:
    calibration = Calibration(slope=1.0, intercept=0.0)
    assert margin_at(0.0, calibration) == -math.inf
    assert margin_at(1.0, calibration) == math.inf


def test_fit_finds_the_sigmoid_that_made_the_labels() -> None:
    rng = np.random.default_rng(1)
    margins = rng.normal(0, 0.2, 20_000)
    labels = rng.random(20_000) < 1 / (1 + np.exp(-(12.0 * margins - 1.5)))
    fitted = fit_platt(margins, labels)
    assert fitted.slope == pytest.approx(12.0, rel=0.05)
    assert fitted.intercept == pytest.approx(-1.5, abs=0.08)


def test_fit_is_the_minimum_of_the_smoothed_loss() -> None:
    rng = np.random.default_rng(2)
    margins = rng.normal(0, 1, 60)
    labels = margins + rng.normal(0, 1, 60) > 0.3
    fitted = fit_platt(margins, labels)
    target = np.where(labels, (labels.sum() + 1) / (labels.sum() + 2), 1 / ((~labels).sum() + 2))

    def loss(slope: float, intercept: float) -> float:
        z = slope * margins + intercept
        return float(np.sum(np.logaddexp(0, z) - target * z))

    best = loss(fitted.slope, fitted.intercept)
    for change in (-0.01, 0.01):
        assert loss(fitted.slope + change, fitted.intercept) > best
        assert loss(fitted.slope, fitted.intercept + change) > best


def test_separable_classes_stay_finite() -> None:
    fitted = fit_platt(np.array([-1.0, -0.9, 0.9, 1.0]), np.array([False, False, True, True]))
    assert 0.5 < fitted.slope < 10
    assert probability(1.0, fitted) < 0.95


def test_margins_that_point_the_wrong_way_give_a_slope_below_zero() -> None:
    assert fit_platt(np.array([1.0, 0.9, -0.9, -1.0]), np.array([False, False, True, True])).slope < 0


@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_cannot_be_calibrated(label: bool) -> None:
    with pytest.raises(ValueError, match="both classes"):
        fit_platt(np.array([0.1, 0.2]), np.array([label, label]))


BENT = Calibration(
    method="monotone", slope=10.0, intercept=-1.0, knots=((-3.0, -4.0), (-1.0, -3.5), (0.0, 1.0), (2.0, 1.5))
)


def test_a_broken_line_is_followed_between_its_knots_and_beyond() -> None:
    for z, odds in ((-1.0, -3.5), (-0.5, -1.25), (1.0, 1.25), (-5.0, -4.5), (6.0, 2.5)):
        margin = (z + 1.0) / 10.0
        assert probability(margin, BENT) == pytest.approx(1 / (1 + math.exp(-odds)))
        assert margin_at(probability(margin, BENT), BENT) == pytest.approx(margin)


def test_a_broken_line_never_gives_two_margins_the_same_probability() -> None:
    said = [probability(margin, BENT) for margin in np.linspace(-2, 2, 5001).tolist()]
    assert (np.diff(said) > 0).all()
