from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.bundle.manifest import Encoder, Pooling
from dicom_node.errors import InferenceError
from dicom_node.findings.assess import Knowledge
from dicom_node.findings.prompts import Anchors
from dicom_node.findings.scope import ScopeStatistics
from export.measure import calibration_error, measure_findings, measure_scope, measured
from export.parity import centred_cosines, compare
from m3bind.data.examples import Example

pytestmark = pytest.mark.train


def example(index: int, label: int | None) -> Example:
    return Example(
        "xray", "set", Path("none"), "radiograph", "val", f"patient {index // 2}", {"xray.a": label}
    )


def knowledge(unsure_from: float | None = None) -> Knowledge:
    """Finding a along the first axis; threshold at margin 0; scope up to length 2."""
    entry = FindingEntry(
        id="xray.a",
        modality="xray",
        name="A",
        code=CodeEntry(value="1", scheme="SCT", meaning="A"),
        prompts=Prompts(affirmed=("a",), negated=("no a",)),
        calibration=Calibration(slope=1.0, intercept=0.0),
        threshold=0.5,
        unsure_from=unsure_from,
    )
    anchors = Anchors(("xray.a",), np.eye(1, 2, dtype=np.float32), np.zeros((1, 2), np.float32))
    scope = ScopeStatistics(np.zeros(2), np.zeros((0, 2)), np.zeros(0), 1.0, 2.0)
    return Knowledge((entry,), anchors, Pooling(), scope)


ENCODER = Encoder(
    file="x.onnx",
    reader="radiograph",
    preprocess=(),
    input_shape=(1, 1, 1),
    evidence=False,
    pooling=Pooling(),
)


def rows(*margins: float) -> np.ndarray:
    return np.array([[m, 0.0] for m in margins], dtype=np.float32)


def test_figures_follow_from_what_was_said() -> None:
    margins = (0.9, 0.5, -0.2, 0.1, -0.5, -0.9)
    labels = (1, 1, 1, 0, 0, 0)
    examples = [example(i, label) for i, label in enumerate(labels)]
    (figures,) = measure_findings(examples, rows(*margins), ENCODER, knowledge())
    assert figures.auc.value == pytest.approx(8 / 9)
    assert (figures.auc.n, figures.auc.positives) == (6, 3)
    assert figures.accuracy == pytest.approx(4 / 6)
    assert figures.sensitivity == pytest.approx(2 / 3)
    assert figures.specificity == pytest.approx(2 / 3)
    assert (figures.decided, figures.abstained) == (6, 0)
    kept = measured(figures)
    assert kept is not None
    assert kept.auc_ci[0] <= kept.auc <= kept.auc_ci[1]


def test_who_abstains_or_is_out_of_scope_decides_nothing() -> None:
    margins = (0.9, -0.1, -0.9, 3.0)
    examples = [example(i, label) for i, label in enumerate((1, 1, 0, 0))]
    (figures,) = measure_findings(examples, rows(*margins), ENCODER, knowledge(unsure_from=0.4))
    assert (figures.decided, figures.abstained) == (2, 1)
    assert figures.accuracy == 1.0


def test_unknown_labels_are_not_measured() -> None:
    examples = [example(i, label) for i, label in enumerate((1, 0, None))]
    (figures,) = measure_findings(examples, rows(0.5, -0.5, 0.9), ENCODER, knowledge())
    assert figures.auc.n == 2


def test_one_class_alone_is_not_measured() -> None:
    examples = [example(i, 0) for i in range(4)]
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        (figures,) = measure_findings(examples, rows(0.5, -0.5, 0.9, 0.1), ENCODER, knowledge())
    assert measured(figures) is None


def test_scope_counts_both_kinds() -> None:
    figures = measure_scope("xray", knowledge(), rows(0.1, 0.2, 5.0, 0.3), rows(4.0, 0.1))
    assert figures.kept == pytest.approx(0.75)
    assert figures.refused == pytest.approx(0.5)
    assert measure_scope("xray", knowledge(), rows(0.1), rows()[:0].reshape(0, 2)).refused is None


def test_calibration_error_is_the_gap_weighted_by_bin() -> None:
    said = np.array([0.05, 0.05, 0.95, 0.95])
    so = np.array([False, True, True, True])
    assert calibration_error(said, so) == pytest.approx(0.5 * 0.45 + 0.5 * 0.05)
    assert calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0.0


def test_centred_cosine_is_not_flattered_by_a_shared_mean() -> None:
    rng = np.random.default_rng(9)
    a = rng.standard_normal((30, 8)) + 100
    b = rng.standard_normal((30, 8)) + 100
    raw = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert raw.min() > 0.99
    assert abs(centred_cosines(a, b).mean()) < 0.3
    np.testing.assert_allclose(centred_cosines(a, a), 1)


def test_a_graph_that_differs_is_refused() -> None:
    a = np.random.default_rng(10).standard_normal((10, 4)).astype(np.float32)
    assert compare("a", a, a, a).difference == 0.0
    with pytest.raises(InferenceError, match="differs from torch"):
        compare("a", a + 0.001, a, a)
    with pytest.raises(InferenceError, match="mean-centred cosine"):
        compare("a", a, a, a[::-1])
