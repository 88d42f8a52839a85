"""Retrieval across modalities, on vectors whose answer is known."""

import numpy as np
import pytest

from m3bind.data.groups import load_groups
from m3bind.evaluate.cross_modal import MEASURES, Side, ask, centre, cross_modal
from m3bind.evaluate.embedded import seed_of_name
from m3bind.metrics import expected_average_precision, resampled_weights

pytestmark = pytest.mark.train


def test_bound_modalities_find_each_other_and_turned_ones_find_the_opposite(world, apart):
    groups = load_groups()
    bound = cross_modal(world[1], world[0], groups)[0]["centred"]
    assert bound["mean"]["mAP"]["value"] == pytest.approx(1.0)
    assert bound["mean"]["above chance"]["value"] == pytest.approx(1.0)
    assert bound["mean"]["R@10"]["value"] == pytest.approx(1.0)
    assert {(p["from"], p["to"], p["group"]) for p in bound["pairs"]} == {
        (a, b, g) for a, b in (("ct", "pathology"), ("pathology", "ct")) for g in ("normal", "malignancy")
    }
    turned = cross_modal(apart[1], apart[0], groups)[0]["centred"]
    assert turned["mean"]["above chance"]["value"] < 0
    assert turned["mean"]["R@10"]["high"] < 0.2


def test_chance_is_that_of_a_random_order(world):
    data, seen = world
    random = np.random.default_rng(3)
    for own in seen.values():
        own.val[:] = random.normal(size=own.val.shape)
    mean = cross_modal(seen, data, load_groups())[0]["centred"]["mean"]
    chance = expected_average_precision(np.asarray(24.0), np.asarray(48.0))
    assert mean["mAP"]["chance"] == pytest.approx(float(chance))
    assert mean["R@10"]["chance"] == pytest.approx(0.5)
    assert abs(mean["above chance"]["value"]) < 0.15
    assert mean["above chance"]["low"] < 0 < mean["above chance"]["high"] + 0.1
    assert all(mean[m]["over_chance_low"] < 0 for m in MEASURES)


def naive_mean_precision(queries, items, relevant):
    """Mean average precision of queries (Q, D) among items (G, D), walking down each ranking."""
    total = 0.0
    for query in queries:
        order, found, own = np.argsort(-(items @ query), kind="stable"), 0, 0.0
        for rank, item in enumerate(order, start=1):
            if relevant[item]:
                found += 1
                own += found / rank
        total += own / relevant.sum()
    return total / len(queries)


def side_of(random, n, groups):
    points = random.normal(size=(n, 4))
    member = np.stack([np.arange(n) % 2, random.integers(-1, 2, n)], axis=1).astype(np.int8)
    return Side(points, member, resampled_weights(np.arange(n) // groups, 60, seed=n))


def test_figures_and_samples_equal_the_naive_form():
    """Samples of the galleries draw items several times: near to a gallery in which they stand that often."""
    random = np.random.default_rng(5)
    queries, gallery = side_of(random, 24, 2), side_of(random, 40, 2)
    found = ask(("a", "b", "normal"), queries, gallery, 0)
    asking, relevant = queries.member[:, 0] == 1, gallery.member[:, 0] == 1
    asked, items = queries.embeddings[asking], gallery.embeddings
    precision = naive_mean_precision(asked, items, relevant)
    chance = float(expected_average_precision(np.asarray(20.0), np.asarray(40.0)))
    assert found.figures[:2] == pytest.approx([precision, (precision - chance) / (1 - chance)])
    hits = [relevant[np.argsort(-(items @ q))[:10]].sum() / 10 for q in asked]
    assert found.figures[2] == pytest.approx(np.mean(hits))
    for row in range(5):
        again = np.repeat(np.arange(40), gallery.weights[row].astype(int))
        drawn = np.repeat(np.arange(len(asked)), queries.weights[row, asking].astype(int))
        naive = naive_mean_precision(asked[drawn], items[again], relevant[again])
        chance = float(
            expected_average_precision(
                np.asarray(float(relevant[again].sum())), np.asarray(float(len(again)))
            )
        )
        assert found.draws[row, 0] == pytest.approx(naive, abs=0.015)
        assert found.over[row, 0] == pytest.approx(found.draws[row, 0] - chance)
        assert found.over[row, 1] == pytest.approx((found.draws[row, 0] - chance) / (1 - chance))


def test_the_modalities_are_resampled_on_their_own():
    """With one seed the same random numbers would draw both sides of a retrieval."""
    assert seed_of_name("ct") == seed_of_name("ct") != seed_of_name("pathology")


def test_uncentred_embeddings_tell_of_their_modality(world):
    told, _ = cross_modal(world[1], world[0], load_groups())
    assert told["uncentred"]["mean"]["mAP"]["value"] <= told["centred"]["mean"]["mAP"]["value"] + 1e-9
    # With one other modality alone, the gallery of all others is that of the pair.
    assert told["centred"]["mean_all_others"]["mAP"]["value"] == told["centred"]["mean"]["mAP"]["value"]


def test_centred_embeddings_have_unit_norm_and_no_mean():
    points = np.random.default_rng(0).normal(size=(50, 4)) + 5.0
    told = centre(points, points.mean(axis=0))
    assert np.linalg.norm(told, axis=1) == pytest.approx(1.0)
    assert np.abs(told.mean(axis=0)).max() < 0.4
