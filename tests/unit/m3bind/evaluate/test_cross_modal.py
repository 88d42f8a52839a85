"""Retrieval across modalities, on vectors whose answer is known."""

import numpy as np
import pytest

from m3bind.evaluate.cross_modal import centre, cross_modal
from m3bind.evaluate.groups import load_groups
from m3bind.metrics import expected_average_precision

pytestmark = pytest.mark.train


def test_bound_modalities_find_each_other_and_turned_ones_find_the_opposite(world, apart):
    groups = load_groups()
    bound = cross_modal(world[1], world[0], groups)["centred"]
    assert bound["mean"]["mAP"]["value"] == pytest.approx(1.0)
    assert bound["mean"]["above chance"]["value"] == pytest.approx(1.0)
    assert bound["mean"]["R@10"]["value"] == pytest.approx(1.0)
    assert {(p["from"], p["to"], p["group"]) for p in bound["pairs"]} == {
        (a, b, g) for a, b in (("ct", "pathology"), ("pathology", "ct")) for g in ("normal", "malignancy")
    }
    turned = cross_modal(apart[1], apart[0], groups)["centred"]
    assert turned["mean"]["above chance"]["value"] < 0
    assert turned["mean"]["R@10"]["high"] < 0.2


def test_chance_is_that_of_a_random_order(world):
    data, seen = world
    random = np.random.default_rng(3)
    for own in seen.values():
        own.val[:] = random.normal(size=own.val.shape)
    mean = cross_modal(seen, data, load_groups())["centred"]["mean"]
    chance = expected_average_precision(np.asarray(24.0), np.asarray(48.0))
    assert mean["mAP"]["chance"] == pytest.approx(float(chance))
    assert mean["R@10"]["chance"] == pytest.approx(0.5)
    assert abs(mean["above chance"]["value"]) < 0.15
    assert mean["above chance"]["low"] < 0 < mean["above chance"]["high"] + 0.1


def test_uncentred_embeddings_tell_of_their_modality(world):
    told = cross_modal(world[1], world[0], load_groups())
    assert told["uncentred"]["mean"]["mAP"]["value"] <= told["centred"]["mean"]["mAP"]["value"] + 1e-9
    # With one other modality alone, the gallery of all others is that of the pair.
    assert told["centred"]["mean_all_others"]["mAP"]["value"] == told["centred"]["mean"]["mAP"]["value"]


def test_centred_embeddings_have_unit_norm_and_no_mean():
    points = np.random.default_rng(0).normal(size=(50, 4)) + 5.0
    told = centre(points, points.mean(axis=0))
    assert np.linalg.norm(told, axis=1) == pytest.approx(1.0)
    assert np.abs(told.mean(axis=0)).max() < 0.4
