from functools import cache

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import ScopeEntry
from dicom_node.findings.scope import (
    ScopeStatistics,
    distances,
    judge_scope,
    likenesses,
    sample_scores,
    view_score,
)
from dicom_node.records import ViewVectors
from export.scope import ALIKE, PARTS, RULES, Rule, Signature, entry_of, fit_signature, rule_of

pytestmark = pytest.mark.train

R = 60


def home(n: int, seed: int) -> np.ndarray:
    """Features that vary along ten of R dimensions, each on a scale of its own."""
    rng = np.random.default_rng(seed)
    basis = np.random.default_rng(0).standard_normal((10, R))
    scales = np.linspace(0.1, 20, R)
    return ((rng.standard_normal((n, 10)) @ basis + 0.3 * rng.standard_normal((n, R))) * scales + 5).astype(
        np.float32
    )


def strange(n: int, seed: int, kind: int) -> np.ndarray:
    """The same, moved along ten dimensions of its own by kind."""
    out = home(n, seed)
    moved = slice(kind, kind + 10)
    out[:, moved] += 12 * np.linspace(0.1, 20, R)[moved]
    return out


PLAIN = Rule()


@cache
def taught() -> Signature:
    strangers = np.concatenate([strange(150, 3, 7), strange(150, 4, 31)])
    return fit_signature(home(400, 1), strangers, ["paper"] * 150 + ["noise"] * 150)


def fitted(rule: Rule = PLAIN) -> tuple[Signature, ScopeEntry]:
    signature = taught()
    return signature, entry_of(signature.linear(home(300, 2)), signature, rule)


def test_training_data_have_covariance_one_in_the_part_that_distance_measures() -> None:
    signature, _ = fitted()
    assert signature.parts == PARTS
    assert signature.kinds == ("noise", "paper")
    near = signature.linear(home(400, 1))[:, :PARTS]
    np.testing.assert_allclose(near.mean(axis=0), 0, atol=1e-2)
    covariance = np.cov(near, rowvar=False)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-2)
    assert np.diag(covariance).max() == pytest.approx(1.0, abs=0.06)


def test_the_odds_name_the_kind() -> None:
    signature, entry = fitted()
    known = ScopeStatistics.of(entry)
    for kind, dimension in (("paper", 7), ("noise", 31)):
        rows = signature.linear(strange(50, 9, dimension))
        told = judge_scope("xray", ViewVectors(np.ones((50, 2), np.float32), None, rows), known)
        assert told.reason is not None
        assert kind in told.reason
        assert (sample_scores(rows, known) > known.threshold).mean() >= 0.95
    fresh = signature.linear(home(300, 8))
    assert (sample_scores(fresh, known) <= known.threshold).mean() >= 0.94


def test_what_is_unlike_every_kind_that_was_shown_is_far_all_the_same() -> None:
    signature, entry = fitted()
    known = ScopeStatistics.of(entry)
    rows = signature.linear(home(50, 11) + 40 * np.random.default_rng(12).standard_normal((50, R)))
    assert known.likeness is not None
    assert (distances(rows, known) > known.likeness.distance_limit).all()
    assert (sample_scores(rows, known) > known.threshold).all()


def test_what_is_clearly_likelier_at_home_is_kept_however_the_calibration_data_lie() -> None:
    """A quantile of the training hospitals' own odds refused most of a hospital that was left out."""
    limit = PLAIN.likelier
    signature, entry = fitted()
    known = ScopeStatistics.of(entry)
    assert entry.likeness is not None
    assert entry.likeness.limit == limit
    assert entry.threshold == 1.0
    wanted = [limit - 1, limit - 0.01, limit + 0.01]
    odds = np.log(np.full(2, 0.5)) + np.array(wanted)[:, None]
    rows = np.concatenate([np.zeros((3, PARTS)), odds], axis=1).astype(np.float32)
    np.testing.assert_allclose(likenesses(rows, known), wanted, atol=1e-5)
    assert (likenesses(signature.linear(home(300, 2)), known) < limit).mean() >= PLAIN.kept
    assert (sample_scores(rows, known) <= known.threshold).tolist() == [True, True, False]


def test_the_limits_are_the_rules() -> None:
    signature, entry = fitted(Rule(wider=2.5, likelier=-3.0, view_quantile=0.2))
    assert entry.likeness is not None
    far = distances(signature.linear(home(300, 2)), ScopeStatistics.of(entry))
    assert entry.likeness.distance_limit == pytest.approx(2.5 * np.quantile(far, ALIKE), rel=1e-3)
    assert entry.likeness.limit == -3.0
    assert entry.view_quantile == 0.2


@pytest.mark.parametrize("kept", [0.98, 0.9])
def test_data_hard_to_tell_from_strangers_are_kept_all_the_same(kept: float) -> None:
    signature, _ = fitted()
    calib = signature.linear(np.concatenate([home(100, 2), strange(20, 6, 7)]))
    known = ScopeStatistics.of(entry_of(calib, signature, Rule(kept=kept)))
    assert known.threshold > 1.0
    assert (sample_scores(calib, known) <= known.threshold).mean() == pytest.approx(kept, abs=0.01)


def test_every_reader_has_a_rule() -> None:
    assert set(RULES) <= {"radiograph", "ct", "retina", "ecg", "slide"}
    assert rule_of("retina") == rule_of("a reader to come") == PLAIN


def at(reader: str, *units: float) -> tuple[float, float]:
    """Score and threshold, by a reader's rule, of a view whose samples lie so many times as far as `ALIKE` of
    the calibration data, and look like no stranger."""
    signature, entry = fitted(rule_of(reader))
    known = ScopeStatistics.of(entry)
    unit = float(np.quantile(distances(signature.linear(home(300, 2)), known), ALIKE))
    rows = np.full((len(units), known.width), -9.0, dtype=np.float32)
    rows[:, :PARTS] = 0.0
    rows[:, 0] = np.array(units) * unit
    return view_score(rows, known), known.threshold


def test_a_slide_of_another_tissue_is_refused_where_a_slice_of_another_scanner_is_kept() -> None:
    """Tiles of skin (tests/samples) lie 1.1 to 1.7 units out, slices of other scanners up to 1.3, and what
    is held out at 0.6."""
    score, threshold = at("slide", 1.1, 1.2, 1.3, 1.4)
    assert score > 1.1 * threshold
    for reader in ("ct", "radiograph"):
        score, threshold = at(reader, 1.1, 1.2, 1.3, 1.3)
        assert score < 0.9 * threshold
    score, threshold = at("slide", 0.5, 0.6, 0.7)
    assert score < 0.75 * threshold


def test_a_third_of_a_series_but_half_of_a_slide_must_be_known() -> None:
    for reader, known, wanted in (
        ("ct", 9, True),
        ("ct", 7, False),
        ("slide", 13, True),
        ("slide", 11, False),
    ):
        score, threshold = at(reader, *[0.5] * known, *[9.0] * (24 - known))
        assert (score <= threshold) == wanted, (reader, known)


def test_nothing_can_be_fitted_on_two() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        fit_signature(home(2, 1), strange(9, 2, 3), ["x"] * 9)
