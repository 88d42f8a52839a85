from collections.abc import Sequence
from dataclasses import replace
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
from dicom_node.records import ViewVectors
from export.catalogue import why_off
from export.measure import (
    FindingFigures,
    measure_aucs,
    measure_findings,
    measure_scope,
    measure_silent,
    sealed,
)
from export.parity import NEIGHBOURS, Kept, centred_cosines, check_single, compare, neighbours_kept
from export.said import rate
from m3bind.data.catalogue import findings_of
from m3bind.data.examples import Example
from m3bind.metrics import Estimate

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


def figures_of(
    examples: Sequence[Example], embeddings: np.ndarray, known: Knowledge
) -> tuple[FindingFigures, ...]:
    aucs = measure_aucs(examples, embeddings, known)
    return measure_findings(examples, ViewVectors(embeddings, None), ENCODER, known, aucs)


def rows(*margins: float) -> np.ndarray:
    return np.array([[m, 0.0] for m in margins], dtype=np.float32)


ONE, OTHER = "xray.pulmonary_edema", "xray.infiltrate"


def two_findings() -> Knowledge:
    """Real identifiers; their directions are the two axes."""
    (entry,) = knowledge().findings
    entries = tuple(entry.model_copy(update={"id": each}) for each in (ONE, OTHER))
    anchors = Anchors((ONE, OTHER), np.eye(2, dtype=np.float32), np.zeros((2, 2), np.float32))
    return Knowledge(entries, anchors, Pooling(), None)


def test_the_control_asks_among_the_ill_alone() -> None:
    """The score of ONE tells illness, not which: perfect against the healthy, nothing among the ill."""
    labels = [(1, 0), (1, 0), (0, 1), (0, 1), *[(0, 0)] * 8]
    examples = [
        Example("xray", "set", Path("none"), "radiograph", "val", str(i), {ONE: a, OTHER: b})
        for i, (a, b) in enumerate(labels)
    ]
    scores = np.array([[0.5 if any(each) else -0.5, each[1]] for each in labels], dtype=np.float32)
    one, other = figures_of(examples, scores, two_findings())
    assert one.auc is not None
    assert one.auc.value == pytest.approx((2 * 8 + 4 * 0.5) / 20)
    assert one.control is not None
    assert one.control.value == 0.5
    assert one.control.n == 4
    assert other.control is not None
    assert other.control.value == 1.0


def test_a_general_finding_has_no_control() -> None:
    general = "retina.diabetic_retinopathy"
    (entry,) = knowledge().findings
    entry = entry.model_copy(update={"id": general, "modality": "retina"})
    known = Knowledge(
        (entry,),
        Anchors((general,), np.eye(1, 2, dtype=np.float32), np.zeros((1, 2), np.float32)),
        Pooling(),
        None,
    )
    examples = [
        Example("retina", "set", Path("none"), "retina", "val", str(i), {general: i % 2}) for i in range(8)
    ]
    (figures,) = figures_of(examples, rows(*[0.1 * (i % 2) for i in range(8)]), known)
    assert figures.control is None


def test_what_has_no_code_is_measured_all_the_same() -> None:
    specs = findings_of("ct")
    silent = {spec.id for spec in specs if spec.code is None and spec.illness}
    assert "ct.benign_nodule" in silent
    examples = [
        Example("ct", "set", Path("none"), "ct", "val", str(i), dict.fromkeys(silent, i % 2))
        for i in range(8)
    ]

    def embed(texts: Sequence[str]) -> np.ndarray:
        negated = ("no", "without", "absent", "negative", "free")
        return np.array([[-1.0, 0.0] if set(text.split()) & set(negated) else [1.0, 0.0] for text in texts])

    told = measure_silent(specs, examples, rows(*[0.1 * (i % 2) for i in range(8)]), embed)
    assert {each.id for each in told} == silent
    for each in told:
        assert each.auc is not None
        assert each.auc.value == 1.0
        assert each.control is None, "among the ill there is nobody without it"
        assert each.why


def test_a_finding_that_is_off_is_judged_as_if_it_alone_were() -> None:
    """Of one group only the one furthest above its threshold may be present: what is off takes no part."""
    known = two_findings()
    on, off = (entry.model_copy(update={"group": "xray.one"}) for entry in known.findings)
    off = off.model_copy(update={"enabled": False, "disabled_because": "it is weak"})
    examples = [
        Example("xray", "set", Path("none"), "radiograph", "val", str(i), {ONE: i % 2, OTHER: i % 2})
        for i in range(8)
    ]
    scores = np.array([[0.2, 0.6] if i % 2 else [-0.5, -0.5] for i in range(8)], dtype=np.float32)
    told = figures_of(examples, scores, replace(known, findings=(on, off)))
    assert [each.said[0].sensitivity.value for each in told] == [1.0, 1.0]
    together = replace(known, findings=(on, off.model_copy(update={"enabled": True})))
    assert [each.said[0].sensitivity.value for each in figures_of(examples, scores, together)] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("auc", "positives", "trouble", "expected"),
    [
        (0.70, 8, None, None),
        (0.699, 8, None, "AUC on val is 0.699, below 0.70"),
        (0.95, 7, None, "val has 7 examples with it"),
        (0.95, 1, "only 3 groups", "val has 1 example with it; only 3 groups"),
        (None, 0, None, "val has no examples with it"),
        (None, 20, None, "val has no example without it"),
        (0.95, 20, "only 3 groups", "only 3 groups"),
    ],
)
def test_what_is_weak_or_unmeasured_is_off(
    auc: float | None, positives: int, trouble: str | None, expected: str | None
) -> None:
    told = None if auc is None else Estimate(auc, 0.0, 1.0, 100, positives)
    assert why_off(told, positives, trouble) == expected


def test_data_sets_are_told_apart() -> None:
    examples = [
        Example("xray", name, Path("none"), "radiograph", "val", f"{name} {i}", {"xray.a": i % 2})
        for name in ("easy", "hard")
        for i in range(4)
    ]
    margins = [0.5 if e.labels["xray.a"] == (e.dataset == "easy") else -0.5 for e in examples]
    (figures,) = figures_of(examples, rows(*margins), knowledge())
    assert figures.auc is not None
    easy, hard = figures.said
    assert (easy.dataset, easy.sensitivity.value, easy.specificity.value) == ("easy", 1.0, 1.0)
    assert [figures.auc_by_dataset[name].value for name in ("easy", "hard")] == [1.0, 0.0]  # type: ignore[union-attr]
    assert (hard.dataset, hard.sensitivity.value, hard.specificity.value) == ("hard", 0.0, 0.0)


def test_a_rate_is_resampled_by_group() -> None:
    hits = np.array([True] * 50 + [False] * 50)
    by_one = rate(hits, np.arange(100))
    by_group = rate(hits, np.repeat(np.arange(4), 25))
    assert by_one.value == by_group.value == 0.5
    assert by_group.high - by_group.low > 2 * (by_one.high - by_one.low)
    assert np.isnan(rate(hits[:0], np.arange(0)).value)


def test_figures_follow_from_what_was_said() -> None:
    margins = (0.9, 0.5, -0.2, 0.1, -0.5, -0.9)
    labels = (1, 1, 1, 0, 0, 0)
    examples = [example(i, label) for i, label in enumerate(labels)]
    (figures,) = figures_of(examples, rows(*margins), knowledge())
    assert figures.auc is not None
    assert figures.auc.value == pytest.approx(8 / 9)
    assert (figures.auc.n, figures.auc.positives) == (6, 3)
    (said,) = figures.said
    assert said.sensitivity.value == said.sensitivity_decided == pytest.approx(2 / 3)
    assert said.specificity.value == pytest.approx(2 / 3)
    assert (said.views, said.present, said.abstained, said.out_of_scope) == (6, 3, 0, 0)
    assert not said.simulated
    assert figures.curve == ()
    kept = sealed(knowledge().findings[0], figures, 0.8)
    assert kept.measured is not None
    assert kept.measured.auc_ci[0] <= kept.measured.auc <= kept.measured.auc_ci[1]
    point = kept.operating_point
    assert point is not None
    assert (point.sensitivity_target, point.chosen_on, point.measured_on) == (0.8, "calib", "val")
    assert (point.sensitivity.value, point.sensitivity.n) == (pytest.approx(2 / 3, abs=1e-4), 3)
    assert (point.specificity.value, point.specificity.n) == (pytest.approx(2 / 3, abs=1e-4), 3)
    assert point.sensitivity.ci[0] <= point.sensitivity.value <= point.sensitivity.ci[1]


def test_who_abstains_decides_nothing_and_misses() -> None:
    margins = (0.9, -0.1, -0.9, 3.0)  # present; unsure; absent; out of scope
    examples = [example(i, label) for i, label in enumerate((1, 1, 0, 0))]
    (figures,) = figures_of(examples, rows(*margins), knowledge(unsure_from=0.4))
    (said,) = figures.said
    assert (said.abstained, said.out_of_scope) == (1, 1)
    assert said.sensitivity_decided == said.specificity.value == 1.0
    assert said.sensitivity.value == 0.5


def test_unknown_labels_are_not_measured() -> None:
    examples = [example(i, label) for i, label in enumerate((1, 0, None))]
    (figures,) = figures_of(examples, rows(0.5, -0.5, 0.9), knowledge())
    assert figures.auc is not None
    assert figures.auc.n == 2


def test_one_class_alone_is_not_measured() -> None:
    examples = [example(i, 0) for i in range(4)]
    known = knowledge()
    (figures,) = figures_of(examples, rows(0.5, -0.5, 0.9, 0.1), known)
    assert (figures.auc, figures.sensitivity, figures.calibration, figures.positives) == (None, None, None, 0)
    assert sealed(known.findings[0], figures, 0.9) == known.findings[0]


def test_scope_counts_both_kinds() -> None:
    def of(embeddings: np.ndarray) -> ViewVectors:
        return ViewVectors(embeddings, None)

    figures = measure_scope("xray", knowledge(), of(rows(0.1, 0.2, 5.0, 0.3)), of(rows(4.0, 0.1)))
    assert figures.kept == pytest.approx(0.75)
    assert figures.refused == pytest.approx(0.5)
    assert measure_scope("xray", knowledge(), of(rows(0.1)), of(np.zeros((0, 2), np.float32))).refused is None


def test_centred_cosine_is_not_flattered_by_a_shared_mean() -> None:
    rng = np.random.default_rng(9)
    a = rng.standard_normal((30, 8)) + 100
    b = rng.standard_normal((30, 8)) + 100
    raw = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert raw.min() > 0.99
    assert abs(centred_cosines(a, b).mean()) < 0.3
    np.testing.assert_allclose(centred_cosines(a, a), 1)


def test_a_graph_that_differs_from_torch_is_refused() -> None:
    a = np.random.default_rng(10).standard_normal((10, 4)).astype(np.float32)
    assert check_single("a", a, a) == 0.0
    with pytest.raises(InferenceError, match="differs from torch"):
        check_single("a", a, a + 0.001)


def test_fewer_bits_may_cost_neither_cosine_nor_neighbours() -> None:
    rng = np.random.default_rng(12)
    a = rng.standard_normal((60, 8))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    same = compare("int8", a, a)
    assert same.enough
    assert (same.recall, same.overlap) == (1.0, 1.0)
    assert not compare("int8", a, a[::-1]).enough
    assert not Kept("int8", 0.98, 0.9, 1.0, 1.0).enough
    assert not Kept("int8", 1.0, 1.0, 0.98, 1.0).enough
    assert not Kept("int8", float("nan"), 1.0, 1.0, 1.0).enough


def test_neighbours_are_those_of_the_plain_search() -> None:
    rng = np.random.default_rng(13)
    a, b = rng.standard_normal((2, 30, 6))
    recall, overlap = neighbours_kept(a, b)

    def nearest(rows: np.ndarray, i: int) -> list[int]:
        others = [j for j in range(30) if j != i]
        return sorted(others, key=lambda j: -float(rows[i] @ rows[j]))[:NEIGHBOURS]

    found = [nearest(a, i)[0] in nearest(b, i) for i in range(30)]
    both = [len(set(nearest(a, i)) & set(nearest(b, i))) / NEIGHBOURS for i in range(30)]
    assert recall == pytest.approx(np.mean(found))
    assert overlap == pytest.approx(np.mean(both))
