import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from export.reliability import LEAST_IN_BIN, MOST_BINS, bins_of, calibration_error, reliability

pytestmark = pytest.mark.train


def naive(said: np.ndarray, so: np.ndarray, bins: int) -> float:
    order = sorted(range(len(said)), key=lambda i: said[i])
    total, n = 0.0, len(order)
    for b in range(bins):
        members = order[int(b * n / bins) : int((b + 1) * n / bins)]
        gap = np.mean([said[i] for i in members]) - np.mean([so[i] for i in members])
        total += abs(gap) * len(members)
    return total / n


@pytest.mark.parametrize("n", [7, 60, 251])
def test_the_error_is_the_gap_of_each_bin_weighted_by_its_size(n: int) -> None:
    rng = np.random.default_rng(n)
    said, so = rng.random(n), rng.random(n) < 0.4
    for bins in (1, 3, 5):
        assert calibration_error(said, so, bins) == pytest.approx(naive(said, so, bins))


def test_a_known_case() -> None:
    said = np.array([0.05, 0.05, 0.95, 0.95])
    so = np.array([False, True, True, True])
    assert calibration_error(said, so, 2) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True]), 2) == 0.0
    assert np.isnan(calibration_error(said[:0], so[:0], 2))


def test_bins_are_never_too_small_to_tell() -> None:
    assert [bins_of(n) for n in (1, LEAST_IN_BIN, 3 * LEAST_IN_BIN + 1, 10_000)] == [1, 1, 3, MOST_BINS]


def test_perfect_probabilities_lie_within_what_chance_makes_and_wrong_ones_do_not() -> None:
    rng = np.random.default_rng(5)
    truth = rng.uniform(0.05, 0.95, 400)
    so, groups = rng.random(400) < truth, np.arange(400)
    told = reliability(truth, so, groups)
    assert told is not None
    assert told.error < told.perfect_high
    assert told.low < told.error < told.high
    assert told.perfect < told.perfect_high < 0.12
    wrong = reliability(np.clip(truth + 0.25, 0, 1), so, groups)
    assert wrong is not None
    assert wrong.error > wrong.perfect_high
    assert not wrong.met
    assert reliability(truth[:0], so[:0], groups[:0]) is None
