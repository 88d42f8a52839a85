import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.bundle.manifest import Encoder, Pooling
from dicom_node.findings.calibrate import margin_at, probability
from export.calibrate import (
    FEWEST,
    LEAST_SPECIFICITY,
    LEAST_SURE,
    MOST_SPECIFICITY,
    CalibrationData,
    calibrate,
    calibration_data,
    threshold_margin,
)
from export.catalogue import LeftOut

pytestmark = pytest.mark.train

DRAFT = FindingEntry(
    id="xray.a",
    modality="xray",
    name="A",
    code=CodeEntry(value="1", scheme="SCT", meaning="A"),
    prompts=Prompts(affirmed=("a",), negated=("no a",)),
    calibration=Calibration(slope=1.0, intercept=0.0),
    threshold=0.5,
)


SINGLE = Encoder(file="x", reader="radiograph", preprocess=(), input_shape=(1, 1, 1), evidence=False)


def fit(margins: np.ndarray, labels: np.ndarray) -> FindingEntry | LeftOut:
    return calibrate(DRAFT, SINGLE, margins, labels, [str(i) for i in range(len(labels))])


def drawn(distance: float, positives: int = 60, negatives: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    margins = np.concatenate([rng.normal(distance, 1, positives), rng.normal(0, 1, negatives)]) * 0.05
    labels = np.array([1] * positives + [0] * negatives, dtype=np.int8)
    return margins.astype(np.float32), labels


@pytest.mark.parametrize("distance", [0.5, 2.0, 6.0])
def test_the_threshold_keeps_its_specificity(distance: float) -> None:
    margins, labels = drawn(distance)
    made = fit(margins, labels)
    assert isinstance(made, FindingEntry)
    said = np.array([probability(m, made.calibration) >= made.threshold for m in margins.tolist()])
    specificity = (~said[labels == 0]).mean()
    assert LEAST_SPECIFICITY - 0.01 <= specificity <= 1.0
    assert made.unsure_from is not None
    assert made.unsure_from < made.threshold
    silent = np.array([probability(m, made.calibration) >= made.unsure_from for m in margins.tolist()])
    assert (~silent[labels == 0]).mean() >= LEAST_SURE - 0.01


def test_a_weak_finding_abstains_over_more_of_its_margins() -> None:
    widths = []
    for distance in (1.0, 3.0):
        made = fit(*drawn(distance))
        assert isinstance(made, FindingEntry)
        assert made.unsure_from is not None
        upper = margin_at(made.threshold, made.calibration)
        widths.append(upper - margin_at(made.unsure_from, made.calibration))
    assert widths[0] > widths[1]


def test_unknown_labels_do_not_count() -> None:
    margins, labels = drawn(2.0)
    strange = np.concatenate([margins, np.full(50, 9.0, np.float32)])
    unknown = np.concatenate([labels, np.full(50, -1, np.int8)])
    assert fit(strange, unknown) == fit(margins, labels)


def test_too_few_of_a_class_leave_the_finding_out() -> None:
    margins, labels = drawn(2.0, positives=2)
    left = fit(margins, labels)
    assert left == LeftOut("xray.a", "only 2 groups with it and 240 without it to calibrate on")


def test_slices_of_one_patient_do_not_count_as_many() -> None:
    margins, labels = drawn(2.0)
    few = [f"ill {i % (FEWEST - 1)}" if label else str(i) for i, label in enumerate(labels)]
    left = calibrate(DRAFT, SINGLE, margins, labels, few)
    assert left == LeftOut("xray.a", f"only {FEWEST - 1} groups with it and 240 without it to calibrate on")
    enough = [f"ill {i % FEWEST}" if label else str(i) for i, label in enumerate(labels)]
    assert isinstance(calibrate(DRAFT, SINGLE, margins, labels, enough), FindingEntry)


def test_the_prevalence_counts_what_is_known() -> None:
    labels = np.array([1, 1, 0, 0, 0, -1], dtype=np.int8)
    told = calibration_data(labels, ["a", "a", "a", "b", "c", "d"])
    assert told == CalibrationData(n=5, positives=2, groups=3, positive_groups=1)
    assert told.prevalence == pytest.approx(0.4)


def test_a_margin_that_points_the_wrong_way_leaves_the_finding_out() -> None:
    left = fit(*drawn(-3.0))
    assert isinstance(left, LeftOut)
    assert "does not rise" in left.reason


def test_the_cut_is_the_best_of_the_plain_search() -> None:
    margins, labels = drawn(1.5)
    x, y = margins.astype(np.float64), labels == 1
    best = 0.0
    for cut in np.concatenate([x - 1e-9, x + 1e-9]):
        specificity = (x[~y] < cut).mean()
        if LEAST_SPECIFICITY <= specificity <= MOST_SPECIFICITY:
            best = max(best, (x[y] >= cut).mean() + specificity)
    cut = threshold_margin(x, y)
    assert (x[y] >= cut).mean() + (x[~y] < cut).mean() == pytest.approx(best)


def test_equal_margins_still_give_a_cut() -> None:
    x, y = np.zeros(20), np.arange(20) < 5
    assert threshold_margin(x, y) > 0


def test_a_series_is_calibrated_as_a_series() -> None:
    """Six strongest of 24 slices: a healthy series must not be called ill for being long."""
    series = Encoder(
        file="x",
        reader="ct",
        preprocess=(),
        input_shape=(1, 1, 1),
        evidence=False,
        sampling={"slices": 24},
        pooling=Pooling(method="top", fraction=0.25),
    )
    margins, labels = drawn(2.0)
    groups = [f"patient {i // 10}" for i in range(len(labels))]
    made, single = calibrate(DRAFT, series, margins, labels, groups), fit(margins, labels)
    assert isinstance(made, FindingEntry)
    assert isinstance(single, FindingEntry)
    rng = np.random.default_rng(12)
    healthy = [np.sort(rng.normal(0, 0.05, 24))[-6:].mean() for _ in range(300)]
    called_ill = [
        np.mean([probability(m, entry.calibration) >= entry.threshold for m in healthy])
        for entry in (made, single)
    ]
    assert called_ill[0] < 0.15
    assert called_ill[1] > 2 * called_ill[0] > 0
