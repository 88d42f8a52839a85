import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.findings.scope import ScopeStatistics, sample_scores
from export.scope import EXPLAINED, KEPT, fit_scope

pytestmark = pytest.mark.train


def cloud(n: int, seed: int) -> np.ndarray:
    """Points of 12 dimensions that vary along 4, and a little along the rest."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, 12)) * [1, 0.8, 0.6, 0.4, *[0.02] * 8] + 3).astype(np.float32)


def test_what_is_like_the_training_data_is_in_scope() -> None:
    calib = cloud(400, 2)
    known = ScopeStatistics.of(fit_scope(cloud(1000, 1), calib))
    assert (sample_scores(calib, known) <= known.threshold).mean() == pytest.approx(KEPT, abs=0.005)
    assert (sample_scores(cloud(2000, 3), known) <= known.threshold).mean() == pytest.approx(KEPT, abs=0.03)


def test_what_leaves_the_training_datas_plane_is_out_of_scope() -> None:
    known = ScopeStatistics.of(fit_scope(cloud(1000, 1), cloud(400, 2)))
    strange = cloud(200, 4)
    strange[:, 9] += 0.5
    assert (sample_scores(strange, known) > known.threshold).mean() > 0.99


def test_components_are_orthonormal_and_as_many_as_needed() -> None:
    entry = fit_scope(cloud(1000, 1), cloud(400, 2))
    rows = np.array(entry.components)
    np.testing.assert_allclose(rows @ rows.T, np.eye(len(rows)), atol=1e-5)
    variances = cloud(1000, 1).var(axis=0)
    assert len(rows) <= 4
    assert variances[: len(rows)].sum() / variances.sum() > EXPLAINED - 0.02


def test_few_examples_keep_few_components() -> None:
    assert len(fit_scope(cloud(12, 1), cloud(12, 2)).components) == 2
