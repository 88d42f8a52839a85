import numpy as np

from dicom_node.bundle.catalogue import ScopeEntry
from dicom_node.findings.scope import ScopeStatistics, sample_scores, view_score


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
