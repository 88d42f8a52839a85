"""Folds keep groups whole and official held-out parts out; ranks and figures are what a loop gives."""

from pathlib import Path

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe
from m3bind.crossval import cross_validate, folds, pooled, ranks
from m3bind.data.catalogue import findings_of
from m3bind.data.examples import Example
from m3bind.loop import Workplace

pytestmark = pytest.mark.train
RECIPE = load_recipe("mini")
AF = "ecg.atrial_fibrillation"


def example(dataset, number, split, label=0):
    labels = {f.id: None for f in findings_of("ecg")} | {AF: label}
    group = f"{dataset}:{number // 2}"
    return Example("ecg", dataset, Path(f"{dataset}-{number}.hea"), "ecg", split, group, labels)


SPLITS = ("train", "calib", "val")
FOUND = [example(d, n, SPLITS[n // 2 % 3], int(n % 5 == 0)) for d in ("ludb", "ptbxl") for n in range(60)]


@pytest.mark.parametrize("dataset", ["ludb", "ptbxl"])
def test_every_group_is_held_out_once_and_never_trained_on_then(dataset):
    dealt = folds(FOUND, dataset, 5, seed=0)
    held = [e for fold in dealt for e in fold.held]
    own = [e for e in FOUND if e.dataset == dataset and (dataset == "ludb" or e.split != "val")]
    assert {e.path for e in held} == {e.path for e in own}
    assert len(held) == len(own)
    for fold in dealt:
        assert not {e.group for e in fold.held} & {e.group for e in fold.train}
        assert all(e.split == "train" for e in fold.train if e.dataset != dataset)
        assert not any(e.split == "val" and e.dataset == "ptbxl" for e in fold.train)


def test_more_folds_than_groups_are_refused():
    with pytest.raises(ConfigError, match="30 groups"):
        folds(FOUND, "ludb", 31, seed=0)


def test_other_modalities_are_refused():
    with pytest.raises(ConfigError, match="waveforms"):
        cross_validate(RECIPE, "xray", "nih", 5, Workplace(lambda _: None))


def test_ranks_equal_counting():
    scores = np.random.default_rng(0).normal(size=(7, 3))
    expected = [[(np.sum(scores[:, c] < v) + 0.5) / 7 for c, v in enumerate(row)] for row in scores]
    assert np.allclose(ranks(scores), expected)


def test_figures_are_of_findings_with_enough_cases_only():
    held = [e for e in FOUND if e.dataset == "ludb"]
    ids = [f.id for f in findings_of("ecg")]
    scores = np.zeros((len(held), len(ids)))
    scores[:, ids.index(AF)] = [e.labels[AF] for e in held]
    told = pooled(RECIPE, "ecg", held, scores)
    assert set(told) == {AF}
    assert told[AF].value == 1.0
    assert (told[AF].positives, told[AF].n) == (12, 60)
