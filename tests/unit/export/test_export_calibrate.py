import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.bundle.manifest import Encoder, Pooling
from dicom_node.findings.calibrate import probability
from export.calibrate import (
    FEWEST,
    GUESSED_SLOPE,
    LEAST_SURE,
    Calibrated,
    CalibrationData,
    calibrate,
    prevalence_of,
    view_weights,
    weighted_quantile,
)

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


def fit(margins: np.ndarray, labels: np.ndarray, encoder: Encoder = SINGLE) -> Calibrated:
    """As frequent in the whole training part as here; every example a patient of its own."""
    return among(margins, labels, [str(i) for i in range(len(labels))], encoder)


def among(
    margins: np.ndarray, labels: np.ndarray, groups: list[str], encoder: Encoder = SINGLE
) -> Calibrated:
    datasets = ["set"] * len(labels)
    return calibrate(DRAFT, encoder, margins, labels, groups, datasets, prevalence_of(labels, datasets))


def said(made: Calibrated, margins: np.ndarray) -> np.ndarray:
    return np.array([probability(m, made.entry.calibration) for m in margins.tolist()])


def drawn(distance: float, positives: int = 60, negatives: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(11)
    margins = np.concatenate([rng.normal(distance, 1, positives), rng.normal(0, 1, negatives)]) * 0.05
    labels = np.array([1] * positives + [0] * negatives, dtype=np.int8)
    return margins.astype(np.float32), labels


@pytest.mark.parametrize("distance", [1.5, 2.0, 6.0])
def test_the_threshold_keeps_the_stated_sensitivity(distance: float) -> None:
    margins, labels = drawn(distance)
    made = fit(margins, labels)
    called = said(made, margins) >= made.entry.threshold
    assert called[labels == 1].mean() == pytest.approx(made.target, abs=0.03)
    assert made.target in made.kind.sensitivities
    assert (~called[labels == 0]).mean() >= made.kind.least_specificity - 0.01
    assert made.trouble is None


def test_the_first_sensitivity_that_leaves_enough_specificity_is_aimed_at() -> None:
    """Against the plain search over the kind's list."""
    for distance in (1.0, 1.5, 2.0, 3.0):
        margins, labels = drawn(distance)
        made = fit(margins, labels)
        x, y = margins.astype(np.float64), labels == 1
        for target in made.kind.sensitivities:
            cut = np.quantile(x[y], 1 - target)
            if (x[~y] < cut).mean() >= made.kind.least_specificity:
                break
        assert made.target == target


def test_a_finding_that_overlaps_too_much_takes_the_last_sensitivity() -> None:
    made = fit(*drawn(0.2))
    assert made.target == made.kind.sensitivities[-1]


def test_the_band_of_abstention_leaves_most_of_the_healthy_absent() -> None:
    margins, labels = drawn(3.0)
    made = fit(margins, labels)
    assert made.entry.unsure_from is not None
    assert made.entry.unsure_from <= made.entry.threshold
    silent = said(made, margins) >= made.entry.unsure_from
    assert (~silent[labels == 0]).mean() >= LEAST_SURE - 0.01


def test_how_frequent_a_finding_is_the_whole_training_part_tells() -> None:
    """60 of 300 here, 10 of 100 there: probabilities must hold where it is half as frequent."""
    margins, labels = drawn(2.0)
    groups, datasets = [str(i) for i in range(300)], ["set"] * 300
    made = calibrate(DRAFT, SINGLE, margins, labels, groups, datasets, {"set": (10, 100)})
    rarer = np.where(labels == 1, 0.5, 1.125)
    assert np.average(said(made, margins), weights=rarer) == pytest.approx(0.10, abs=0.01)
    assert made.data.prevalence == 0.1
    assert np.mean(said(fit(margins, labels), margins)) == pytest.approx(0.20, abs=0.01)


def test_data_sets_are_weighted_apart() -> None:
    present = np.array([True, False, True, True, False, False])
    weights = view_weights(present, ["a"] * 2 + ["b"] * 4, {"a": (1, 10), "b": (50, 100)})
    np.testing.assert_allclose(weights, [0.2, 1.8, 1.0, 1.0, 1.0, 1.0])
    alone = view_weights(np.array([True, True]), ["a", "a"], {"a": (5, 10)})
    np.testing.assert_array_equal(alone, 1.0)


def test_a_weighted_quantile_is_that_of_repeated_values() -> None:
    values, times = np.array([3.0, 1.0, 2.0, 5.0]), np.array([40, 10, 30, 20])
    repeated = np.repeat(values, times)
    for part in (0.1, 0.25, 0.5, 0.9):
        plain = float(np.quantile(repeated, part))
        assert weighted_quantile(values, times.astype(float), part) == pytest.approx(plain, abs=1.0)
    one = np.ones(201)
    line = np.linspace(0, 1, 201)
    assert weighted_quantile(line, one, 0.3) == pytest.approx(0.3, abs=0.005)


def test_unknown_labels_do_not_count() -> None:
    margins, labels = drawn(2.0)
    strange = np.concatenate([margins, np.full(50, 9.0, np.float32)])
    unknown = np.concatenate([labels, np.full(50, -1, np.int8)])
    assert fit(strange, unknown) == fit(margins, labels)


def test_too_few_of_a_class_are_told() -> None:
    margins, labels = drawn(2.0, positives=2)
    made = fit(margins, labels)
    assert made.trouble == "only 2 groups with it and 240 without it to calibrate on"
    assert made.entry.calibration.slope == GUESSED_SLOPE


def test_slices_of_one_patient_do_not_count_as_many() -> None:
    margins, labels = drawn(2.0)
    few = [f"ill {i % (FEWEST - 1)}" if label else str(i) for i, label in enumerate(labels)]
    made = among(margins, labels, few)
    assert made.trouble == f"only {FEWEST - 1} groups with it and 240 without it to calibrate on"
    enough = [f"ill {i % FEWEST}" if label else str(i) for i, label in enumerate(labels)]
    assert among(margins, labels, enough).trouble is None


def test_what_it_rests_on_is_counted() -> None:
    labels = np.array([1, 1, 0, 0, 0, -1], dtype=np.int8)
    made = among(np.zeros(6, np.float32), labels, ["a", "a", "a", "b", "c", "d"])
    assert made.data == CalibrationData(n=5, positives=2, groups=3, positive_groups=1, prevalence=0.4)


def test_a_margin_that_points_the_wrong_way_is_told() -> None:
    made = fit(*drawn(-3.0))
    assert made.trouble is not None
    assert "does not rise" in made.trouble


def test_equal_margins_still_give_a_threshold() -> None:
    margins, labels = np.zeros(40, np.float32), (np.arange(40) < 10).astype(np.int8)
    made = fit(margins, labels)
    assert made.trouble is not None or 0 < made.entry.threshold < 1


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
    made, single = among(margins, labels, groups, series), fit(margins, labels)
    rng = np.random.default_rng(12)
    healthy = [np.sort(rng.normal(0, 0.05, 24))[-6:].mean() for _ in range(300)]
    called_ill = [
        np.mean([probability(m, each.entry.calibration) >= each.entry.threshold for m in healthy])
        for each in (made, single)
    ]
    assert called_ill[0] < 0.15
    assert called_ill[1] > 2 * called_ill[0]
