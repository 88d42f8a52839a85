"""Folds keep groups whole and official held-out parts out; figures are of pairs within a fold."""

from pathlib import Path

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe
from m3bind.crossval import cross_validate, facts, folds, pooled
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


def dealt_scores(separation):
    """LUDB's examples fold by fold, scores of towers each of which has a zero of its own, and the folds."""
    dealt = folds(FOUND, "ludb", 5, seed=0)
    held = [e for fold in dealt for e in fold.held]
    number = np.repeat(np.arange(5), [len(fold.held) for fold in dealt])
    ids = [f.id for f in findings_of("ecg")]
    ill = np.asarray([e.labels[AF] for e in held])
    scores = np.zeros((len(held), len(ids)))
    noise = np.random.default_rng(0).normal(size=len(held))
    scores[:, ids.index(AF)] = separation * ill + (separation < 5) * noise + 100.0 * (number % 3)
    return held, scores, number, ill, scores[:, ids.index(AF)]


def test_a_perfect_classifier_is_told_as_one_whatever_each_folds_zero():
    held, scores, number, ill, _ = dealt_scores(separation=5.0)
    shares = [ill[number == k].mean() for k in range(5)]
    assert len(set(shares)) > 1, "with equal shares even ranks would do"
    told = pooled(RECIPE, "ecg", held, scores, number)
    assert set(told) == {AF}
    assert (told[AF].value, told[AF].low, told[AF].high) == (1.0, 1.0, 1.0)
    assert (told[AF].positives, told[AF].n) == (12, 60)


def test_figures_count_pairs_within_a_fold():
    held, scores, number, ill, own = dealt_scores(separation=1.0)
    won = pairs = 0.0
    for a in np.flatnonzero(ill == 1):
        for b in np.flatnonzero((ill == 0) & (number == number[a])):
            won, pairs = won + (own[a] > own[b]) + 0.5 * (own[a] == own[b]), pairs + 1
    figure = pooled(RECIPE, "ecg", held, scores, number)[AF]
    assert figure.value == pytest.approx(won / pairs)
    assert figure.low < figure.value < figure.high


@pytest.mark.data
def test_the_facts_change_with_what_decides_the_towers():
    part = RECIPE.modalities["ecg"]
    longer = part.model_copy(update={"steps": part.steps + 1})
    other = RECIPE.model_copy(update={"modalities": {**RECIPE.modalities, "ecg": longer}})
    told = facts(RECIPE, "ecg", "ludb", 5, 0)
    assert told["settings"] != facts(other, "ecg", "ludb", 5, 0)["settings"]
    assert told == facts(RECIPE, "ecg", "ludb", 5, 0)
