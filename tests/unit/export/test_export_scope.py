import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import ScopeEntry
from dicom_node.findings.scope import ScopeStatistics, distances, judge_scope, likenesses, sample_scores
from dicom_node.records import ViewVectors
from export.scope import KEPT, NEAREST, PARTS, TOWARDS, Signature, entry_of, fit_signature

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
    """The same, moved along one dimension of its own by kind."""
    out = home(n, seed)
    out[:, kind] += 12 * np.linspace(0.1, 20, R)[kind]
    return out


def fitted() -> tuple[Signature, ScopeEntry]:
    strangers = np.concatenate([strange(150, 3, 7), strange(150, 4, 31)])
    signature = fit_signature(home(400, 1), strangers, ["paper"] * 150 + ["noise"] * 150)
    return signature, entry_of(signature.linear(home(300, 2)), signature.linear(strangers), signature)


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


def test_the_threshold_keeps_what_it_says_and_goes_part_of_the_way_to_the_strangers() -> None:
    signature, entry = fitted()
    calib = signature.linear(home(300, 2))
    known = ScopeStatistics.of(entry)
    assert (sample_scores(calib, known) <= known.threshold).mean() >= KEPT
    least = max(1.0, float(np.quantile(sample_scores(calib, known), KEPT)))
    strangers = np.concatenate([strange(150, 3, 7), strange(150, 4, 31)])
    begin = float(np.quantile(sample_scores(signature.linear(strangers), known), NEAREST))
    assert begin > least
    assert entry.threshold == pytest.approx(least + TOWARDS * (begin - least), rel=1e-3)
    assert entry.likeness is not None
    assert np.quantile(likenesses(calib, known), 0.97) == pytest.approx(entry.likeness.limit, rel=1e-3)


def test_nothing_can_be_fitted_on_two() -> None:
    with pytest.raises(ValueError, match="at least 3"):
        fit_signature(home(2, 1), strange(9, 2, 3), ["x"] * 9)
