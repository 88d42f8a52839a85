import numpy as np
import pytest

from dicom_node.bundle.catalogue import Likeness, ScopeEntry
from dicom_node.errors import BundleFormatError, InferenceError
from dicom_node.findings.scope import ScopeStatistics, check_width, judge_scope, sample_scores, view_score
from dicom_node.records import ViewVectors


def statistics() -> tuple[ScopeStatistics, np.ndarray]:
    rng = np.random.default_rng(3)
    basis, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    entry = ScopeEntry(
        mean=tuple(rng.standard_normal(6)),
        components=tuple(tuple(row) for row in basis[:2]),
        variances=(4.0, 0.25),
        residual_variance=0.01,
        threshold=3.0,
    )
    full = basis.T @ np.diag([4.0, 0.25, 0.01, 0.01, 0.01, 0.01]) @ basis
    return ScopeStatistics.of(entry), full


def test_it_is_the_mahalanobis_distance_of_the_full_covariance() -> None:
    known, covariance = statistics()
    points = np.random.default_rng(4).standard_normal((20, 6)).astype(np.float32)
    offset = points - known.mean
    naive = np.sqrt(np.einsum("ni,ij,nj->n", offset, np.linalg.inv(covariance), offset))
    np.testing.assert_allclose(sample_scores(points, known), naive, rtol=1e-6)


def test_without_components_only_the_residual_counts() -> None:
    entry = ScopeEntry(mean=(0.0, 0.0), components=(), variances=(), residual_variance=4.0, threshold=1.0)
    scores = sample_scores(np.array([[3.0, 4.0]], dtype=np.float32), ScopeStatistics.of(entry))
    np.testing.assert_allclose(scores, [2.5])


def test_one_strange_sample_does_not_decide_for_a_view() -> None:
    known, _ = statistics()
    mean = known.mean.astype(np.float32)
    assert view_score(np.stack([mean, mean, mean + 10]), known) < 0.01
    assert view_score(np.stack([mean + 10, mean + 10, mean]), known) > 100


def signed(*rows: tuple[float, ...]) -> ViewVectors:
    """A view whose signatures are these; its embeddings say nothing."""
    embeddings = np.full((len(rows), 4), 0.5, dtype=np.float32)
    return ViewVectors(embeddings, None, np.array(rows, dtype=np.float32))


def taught(view_quantile: float = 0.5) -> ScopeStatistics:
    """Distance over two numbers, then the log odds of two kinds."""
    likeness = Likeness(kinds=("a page of text", "noise"), distance_limit=2.0, limit=-4.0, scale=2.0)
    entry = ScopeEntry(
        on="signature",
        mean=(0.0, 0.0),
        components=(),
        variances=(),
        residual_variance=1.0,
        likeness=likeness,
        view_quantile=view_quantile,
        threshold=1.5,
    )
    return ScopeStatistics.of(entry)


HOME = (0.5, 0.5, -9.0, -9.0)
PAGE = (0.5, 0.5, 6.0, -3.0)
FAR = (30.0, 40.0, -9.0, -9.0)


def test_either_distance_or_likeness_puts_a_sample_out_of_scope() -> None:
    given = signed(HOME, PAGE, FAR).signatures
    assert given is not None
    scores = sample_scores(given, taught())
    both = np.logaddexp(-9.0, -9.0)
    np.testing.assert_allclose(scores[0], max(0.5**0.5 / 2.0, 1 + (both + 4.0) / 2.0), rtol=1e-6)
    np.testing.assert_allclose(scores[1], 1 + (np.logaddexp(6.0, -3.0) + 4.0) / 2.0, rtol=1e-6)
    np.testing.assert_allclose(scores[2], 50.0 / 2.0, rtol=1e-6)


def test_the_reason_says_what_the_view_looks_like() -> None:
    assert judge_scope("xray", signed(HOME), taught()).reason is None
    page = judge_scope("xray", signed(PAGE), taught())
    assert page.reason is not None
    assert "it looks like a page of text (score 6.0, accepted up to 1.5)" in page.reason
    far = judge_scope("xray", signed(FAR), taught())
    assert far.reason is not None
    assert "it is unlike all that it was trained on (score 25.0, accepted up to 1.5)" in far.reason


def test_the_reason_is_told_by_the_strange_samples_alone() -> None:
    noise = (0.5, 0.5, -5.0, 7.0)
    reason = judge_scope("ct", signed(HOME, noise, noise), taught()).reason
    assert reason is not None
    assert "noise" in reason


def test_as_large_a_part_as_the_bundle_says_suffices() -> None:
    view = signed(HOME, HOME, PAGE, PAGE, PAGE)
    assert judge_scope("ct", view, taught()).reason is not None
    assert judge_scope("ct", view, taught(view_quantile=0.25)).reason is None


def test_a_signature_that_is_asked_for_must_be_there() -> None:
    embeddings = np.full((1, 4), 0.5, dtype=np.float32)
    with pytest.raises(
        InferenceError, match="4 numbers of the encoder's signature, but the encoder gives none"
    ):
        judge_scope("xray", ViewVectors(embeddings, None), taught())
    short = ViewVectors(embeddings, None, np.zeros((1, 3), dtype=np.float32))
    with pytest.raises(InferenceError, match="gives 3"):
        judge_scope("xray", short, taught())


def test_the_width_is_checked_before_any_study() -> None:
    check_width("xray", signed(HOME), taught())
    with pytest.raises(BundleFormatError, match=r"Scope of xray: .* 4 numbers .* gives 3. Export"):
        check_width("xray", signed(HOME[:3]), taught())


def test_a_bundle_of_format_1_tells_the_distance_of_the_embedding() -> None:
    known, _ = statistics()
    vectors = ViewVectors(
        (known.mean + 10).astype(np.float32)[None], None, np.zeros((1, 9), dtype=np.float32)
    )
    reason = judge_scope("xray", vectors, known).reason
    assert reason is not None
    assert "distance" in reason
    assert "accepted up to 3.0" in reason
