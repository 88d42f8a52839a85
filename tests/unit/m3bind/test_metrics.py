"""Figures against their definitions."""

import numpy as np
import pytest

from m3bind.metrics import auc, auc_estimate, precision_at, resampled_weights


def naive_auc(scores, labels, strata):
    wins = pairs = 0.0
    for i in range(len(scores)):
        for j in range(len(scores)):
            if labels[i] == 1 and labels[j] == 0 and strata[i] == strata[j]:
                pairs += 1
                wins += (scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j])
    return wins / pairs


def test_auc_equals_counting_pairs_with_ties_and_strata():
    random = np.random.default_rng(0)
    scores = random.integers(0, 8, 60).astype(float)
    labels, strata = random.integers(0, 2, 60), random.integers(0, 3, 60)
    assert auc(scores, labels, strata) == pytest.approx(naive_auc(scores, labels, strata))
    assert auc(scores, labels) == pytest.approx(naive_auc(scores, labels, np.zeros(60)))


def test_whole_weights_count_like_repeated_examples():
    random = np.random.default_rng(1)
    scores, labels = random.normal(size=30), random.integers(0, 2, 30)
    weights = random.integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), weights)
    assert auc(scores, labels, None, weights.astype(float)) == pytest.approx(
        auc(scores[repeated], labels[repeated])
    )


def test_telling_data_sets_apart_earns_nothing():
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 1])
    strata = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    only_the_set = 1.0 - strata
    assert auc(only_the_set, labels) > 0.5
    assert auc(only_the_set, labels, strata) == pytest.approx(0.5)


def test_no_pairs_is_not_a_number():
    assert np.isnan(auc(np.arange(3.0), np.ones(3, dtype=np.int64)))


def test_bootstrap_draws_whole_groups():
    groups = np.array([0, 0, 1, 2, 2, 2])
    weights = resampled_weights(groups, 50, seed=0)
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 5]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()


def test_interval_holds_the_value_and_narrows_with_more_patients():
    random = np.random.default_rng(2)

    def width(n):
        labels = random.integers(0, 2, n)
        told = auc_estimate(labels + random.normal(size=n), labels, np.arange(n), None, 200)
        assert told.low <= told.value <= told.high
        return told.high - told.low

    assert width(800) < width(40)


def test_precision_at():
    relevant = np.array([True, False, True, False])
    assert precision_at(relevant, np.array([4.0, 3.0, 2.0, 1.0]), 2) == pytest.approx(0.5)
