"""Figures against their definitions."""

import math

import numpy as np
import pytest

from m3bind.metrics import (
    Ranked,
    auc,
    auc_draws,
    auc_estimate,
    balanced_accuracy_draws,
    calibration_bins,
    expected_average_precision,
    expected_calibration_error,
    expected_hits_at,
    hits_at,
    interval,
    mean_draws,
    resampled_weights,
)


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


def test_all_bootstrap_samples_at_once_equal_one_after_another():
    random = np.random.default_rng(3)
    scores = random.integers(0, 9, 50).astype(float)
    labels, strata = random.integers(0, 2, 50), random.integers(0, 2, 50)
    weights = resampled_weights(np.arange(50) // 2, 20, seed=1)
    for row, told in zip(weights, auc_draws(scores, labels, strata, weights), strict=True):
        drawn = np.repeat(np.arange(50), row.astype(int))
        assert told == pytest.approx(naive_auc(scores[drawn], labels[drawn], strata[drawn]))


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


def test_interval_leaves_out_samples_without_a_figure():
    assert interval(np.array([np.nan, 1.0, np.nan, 1.0])) == (1.0, 1.0)
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_weighted_means():
    values, weights = np.array([1.0, 5.0]), np.array([[1.0, 3.0], [0.0, 0.0]])
    told = mean_draws(values, weights)
    assert told[0] == pytest.approx(4.0)
    assert np.isnan(told[1])


def test_balanced_accuracy_is_the_mean_of_both_classes():
    called = np.array([True, False, False, False, True])
    labels = np.array([1, 1, 0, 0, 0])
    ones = np.ones((1, 5))
    assert balanced_accuracy_draws(called, labels, ones)[0] == pytest.approx((1 / 2 + 2 / 3) / 2)
    doubled = np.array([[1.0, 2.0, 1.0, 1.0, 1.0]])
    assert balanced_accuracy_draws(called, labels, doubled)[0] == pytest.approx((1 / 3 + 2 / 3) / 2)


def naive_hit(scores, relation, k):
    ranked = sorted((i for i in range(len(scores)) if relation[i] >= 0), key=lambda i: -scores[i])
    return float(any(relation[i] == 1 for i in ranked[:k]))


@pytest.mark.parametrize("k", [1, 3, 9])
def test_hits_equal_looking_through_the_ranking(k):
    random = np.random.default_rng(4)
    similarity = random.normal(size=(12, 8))
    relation = random.integers(-1, 2, (12, 8)).astype(np.int8)
    told = hits_at(similarity, relation, k)
    assert told.tolist() == [naive_hit(s, r, k) for s, r in zip(similarity, relation, strict=True)]


def test_chance_of_a_hit_is_that_of_drawing_without_replacement():
    relation = np.array(
        [[1, 1, 0, 0, 0, 0, -1], [0, 0, 0, 0, 0, 0, -1], [1, 1, 1, 1, 1, 1, 1]], dtype=np.int8
    )
    told = expected_hits_at(relation, 3)
    assert told == pytest.approx([1 - math.comb(4, 3) / math.comb(6, 3), 0.0, 1.0])


def naive_average_precision(relevant):
    found, total = 0, 0.0
    for rank, good in enumerate(relevant, start=1):
        if good:
            found += 1
            total += found / rank
    return total / found


def test_average_precision_and_recall_equal_walking_down_the_ranking():
    random = np.random.default_rng(5)
    similarity, relevant = random.normal(size=(6, 20)), random.random(20) < 0.4
    ranked = Ranked.of(similarity, relevant)
    orders = [relevant[np.argsort(-row)] for row in similarity]
    assert ranked.measures(5)[0] == pytest.approx([naive_average_precision(o) for o in orders])
    most = min(5, int(relevant.sum()))
    assert ranked.measures(5)[1] == pytest.approx([o[:5].sum() / most for o in orders])


def test_a_weighted_gallery_is_near_one_with_repeated_items():
    random = np.random.default_rng(6)
    similarity, relevant = random.normal(size=(4, 60)), random.random(60) < 0.4
    weights = random.integers(0, 3, 60).astype(float)
    drawn = np.repeat(np.arange(60), weights.astype(int))
    repeated = Ranked.of(similarity[:, drawn], relevant[drawn])
    ranked = Ranked.of(similarity, relevant)
    (precision, recall), (naive, naive_recall) = ranked.measures(10, weights), repeated.measures(10)
    assert precision == pytest.approx(naive, abs=0.01)
    assert recall == pytest.approx(naive_recall)


def test_nothing_relevant_is_not_a_number():
    ranked = Ranked.of(np.ones((1, 3)), np.zeros(3, dtype=bool))
    assert np.isnan(ranked.measures(2)).all()


def test_chance_of_average_precision_is_the_mean_over_random_orders():
    random = np.random.default_rng(7)
    relevant = np.arange(30) < 9
    tried = np.mean([naive_average_precision(random.permutation(relevant)) for _ in range(4000)])
    told = expected_average_precision(np.array([9.0]), np.array([30.0]))
    assert told[0] == pytest.approx(tried, abs=0.006)


def naive_calibration_error(probabilities, labels, bins):
    ranked = sorted(zip(probabilities.tolist(), labels.tolist(), strict=True))
    size, total = len(ranked) // bins, 0.0
    for start in range(0, len(ranked), size):
        part = ranked[start : start + size]
        said, true = sum(p for p, _ in part) / size, sum(t for _, t in part) / size
        total += abs(said - true) * size
    return total / len(ranked)


def test_calibration_error_equals_going_through_the_bins():
    random = np.random.default_rng(8)
    probabilities = random.random(75)
    labels = (random.random(75) < probabilities**2).astype(np.int64)
    told = expected_calibration_error(probabilities, labels)
    assert told == pytest.approx(naive_calibration_error(probabilities, labels, 3))
    assert calibration_bins(probabilities, labels)[:, 2].tolist() == [25, 25, 25]


def test_saying_what_is_so_has_no_calibration_error():
    labels = np.arange(60) % 2
    assert expected_calibration_error(labels.astype(float), labels) == 0.0
    assert expected_calibration_error(1.0 - labels, labels) == 1.0
