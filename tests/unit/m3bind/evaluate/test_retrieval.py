"""Retrieval between images and captions, on vectors whose answer is known."""

import dataclasses

import numpy as np
import pytest

from m3bind.data.captions import Caption
from m3bind.evaluate.embedded import says_what_is
from m3bind.evaluate.retrieval import image_text

pytestmark = pytest.mark.train


def test_only_captions_that_say_what_is_there_are_candidates():
    ills = ["ct.a", "ct.b"]
    assert says_what_is(Caption("a", {"ct.a": 1}), ills)
    assert says_what_is(Caption("normal", {"ct.a": 0, "ct.b": 0}), ills)
    assert not says_what_is(Caption("no a", {"ct.a": 0}), ills)
    assert not says_what_is(Caption("a, no b", {"ct.a": 1, "ct.b": 0}), ills)


def test_images_find_true_captions_and_captions_true_images(world):
    data, seen = world
    told = image_text(data["ct"], seen["ct"], 50)
    for way in ("image_to_text", "text_to_image"):
        assert told[way]["R@1"]["value"] == 1.0
        assert 0 < told[way]["R@1"]["chance"] < 1
        assert told[way]["R@1"]["low"] == 1.0
    assert told["image_to_text"]["queries"] == 48
    assert told["image_to_text"]["true_per_query"] > 1


def test_turned_images_find_nothing_at_first(apart):
    data, seen = apart
    told = image_text(data["pathology"], seen["pathology"], 50)["image_to_text"]
    assert told["R@1"]["value"] == 0.0
    assert told["R@1"]["value"] <= told["R@5"]["value"] <= told["R@10"]["value"]


def test_without_candidates_nothing_is_told(world):
    data, seen = world
    none = dataclasses.replace(data["ct"], captions=data["ct"].captions[:1])
    shown = dataclasses.replace(seen["ct"], captions=np.eye(8)[:1])
    assert "R@1" not in image_text(none, shown, 10)["image_to_text"]
