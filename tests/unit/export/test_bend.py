import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the train extra")

from dicom_node.findings.calibrate import fit_platt, probability
from export.bend import LEAST_POSITIVES, LEAST_RISE, bend, bent_line
from export.reliability import calibration_error

pytestmark = pytest.mark.train


def stepped(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Margins whose log odds are a steep step between two plateaus: no sigmoid is like that."""
    rng = np.random.default_rng(seed)
    margins = rng.uniform(-0.5, 0.5, n)
    truth = np.where(margins > 0.1, 0.75, 0.05)
    return margins, rng.random(n) < truth


def test_what_is_no_sigmoid_is_bent_and_fits_better_elsewhere() -> None:
    margins, present = stepped(1200, 1)
    ones = np.ones(len(margins))
    straight = fit_platt(margins, present)
    bent = bend(margins, present, ones, [str(i) for i in range(1200)], straight)
    assert bent.method == "monotone"
    elsewhere, so = stepped(4000, 2)
    errors = [
        calibration_error(np.array([probability(m, each) for m in elsewhere.tolist()]), so, 10)
        for each in (straight, bent)
    ]
    assert errors[1] < 0.5 * errors[0]


def test_what_is_a_sigmoid_stays_one() -> None:
    rng = np.random.default_rng(3)
    margins = rng.normal(0, 0.2, 600)
    present = rng.random(600) < 1 / (1 + np.exp(-10 * margins))
    straight = fit_platt(margins, present)
    assert bend(margins, present, np.ones(600), [str(i) for i in range(600)], straight) == straight


def test_few_never_bend_it() -> None:
    margins, present = stepped(1200, 1)
    few = np.flatnonzero(present)[: LEAST_POSITIVES - 1]
    kept = np.concatenate([few, np.flatnonzero(~present)])
    straight = fit_platt(margins[kept], present[kept])
    groups = [str(i) for i in kept]
    assert bend(margins[kept], present[kept], np.ones(len(kept)), groups, straight) == straight


def test_the_order_of_studies_stays_and_no_two_are_equal() -> None:
    margins, present = stepped(300, 4)
    straight = fit_platt(margins, present)
    bent = bent_line(margins, present, np.ones(300), straight)
    z = np.array([knot[0] for knot in bent.knots])
    odds = np.array([knot[1] for knot in bent.knots])
    assert (np.diff(odds) >= 0.99 * LEAST_RISE * np.diff(z)).all()
    said = [probability(m, bent) for m in np.linspace(-2, 2, 4001).tolist()]
    assert (np.diff(said) > 0).all()
