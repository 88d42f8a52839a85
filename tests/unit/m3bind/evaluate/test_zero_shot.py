"""Zero-shot figures on vectors whose answer is known."""

import numpy as np
import pytest

from m3bind.evaluate.zero_shot import difference, has_both, macro_draws, score, zero_shot

pytestmark = pytest.mark.train


def test_a_finding_that_is_told_has_an_auc_of_one_and_is_called_right(world):
    data, seen = world
    told, draws = zero_shot(data["ct"], seen["ct"], 8)
    figure = told["findings"]["ct.malignant_tumour"]
    assert (figure["value"], figure["low"], figure["high"]) == (1.0, 1.0, 1.0)
    assert figure["positives"] == 24
    assert figure["accuracy"]["value"] == figure["balanced_accuracy"]["value"] == 1.0
    assert figure["by_dataset"]["iq_othnccd"]["n"] == 48
    assert told["by_dataset"]["iq_othnccd"] == told["macro"]
    assert set(draws) == set(told["findings"])


def test_findings_with_too_few_positives_are_left_out(world):
    data, seen = world
    told, _ = zero_shot(data["ct"], seen["ct"], 25)
    assert told["findings"] == {}
    assert told["macro"]["value"] is None


def test_a_system_that_turns_around_is_not_kept(world, apart):
    data, seen = world
    _, ours = zero_shot(data["pathology"], apart[1]["pathology"], 8)
    _, theirs = zero_shot(data["pathology"], seen["pathology"], 8)
    told = difference(ours, theirs)
    assert told["value"] == pytest.approx(-1.0)
    assert not told["kept"]
    assert difference(theirs, theirs)["kept"]
    assert difference({}, theirs) is None


def test_positives_need_a_negative_of_their_own_data_set():
    labels = np.array([1, 1, 0, 0])
    assert not has_both(labels, np.array([0, 0, 1, 1]), 1)
    assert has_both(labels, np.array([0, 1, 0, 1]), 2)
    assert not has_both(labels, np.array([0, 1, 0, 1]), 3)


def test_macro_is_the_mean_sample_by_sample():
    random = np.random.default_rng(0)
    labels, sets, weights = np.arange(20) % 2, np.zeros(20, dtype=np.int64), np.ones((3, 20))
    parts = [score(random.normal(size=20), labels, sets, weights) for _ in range(3)]
    assert macro_draws(parts)[0] == pytest.approx(np.mean([p.estimate.value for p in parts]))


def test_a_sample_without_any_figure_has_no_mean():
    """It is not nought: that would pull the interval down."""
    labels, sets = np.arange(20) % 2, np.zeros(20, dtype=np.int64)
    weights = np.stack([np.ones(20), (labels == 1).astype(float)])
    (part,) = [score(np.arange(20.0), labels, sets, weights)]
    told = macro_draws([part, part])
    assert told[0] == part.estimate.value
    assert np.isnan(told[1])
