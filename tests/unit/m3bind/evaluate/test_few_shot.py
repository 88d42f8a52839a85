"""Few shots: which are drawn, and what each method makes of them."""

import numpy as np
import pytest

from m3bind.evaluate.few_shot import (
    DRAWS,
    METHODS,
    few_shot,
    few_shot_probe,
    probe_scores,
    tasks_of,
    tip_scores,
    tuned_keys,
)

pytestmark = pytest.mark.train


def test_shots_are_of_their_class_and_of_different_patients_first(world):
    data, _ = world
    (task,) = [t for t in tasks_of(data["ct"], 8) if t.finding == "ct.malignant_tumour"]
    labels, groups = data["ct"].pool.label(task.finding), data["ct"].pool.groups
    assert task.shots.shape == (DRAWS, 2, 16)
    for draw in task.shots:
        assert (labels[draw[0]] == 0).all()
        assert (labels[draw[1]] == 1).all()
        assert len(set(groups[draw[1]].tolist())) == 16
    assert not (task.shots[0] == task.shots[1]).all()


def test_no_task_without_sixteen_of_either(world):
    data, _ = world
    assert [t for t in tasks_of(data["ct"], 8) if t.finding == "ct.benign_nodule"] == []


def test_tip_adapter_equals_its_formula():
    random = np.random.default_rng(0)
    keys, queries, margins = random.normal(size=(4, 3)), random.normal(size=(2, 3)), random.normal(size=2)
    values = np.array([0, 0, 1, 1])
    told = tip_scores(keys, values, queries, margins)
    for n in range(2):
        naive = 20.0 * margins[n]
        for key, value in zip(keys, values, strict=True):
            naive += (1 if value else -1) * np.exp(-5.5 * (1 - queries[n] @ key))
        assert told[n] == pytest.approx(naive)


def test_tuning_keys_tells_the_shots_better():
    random = np.random.default_rng(1)
    shown = random.normal(size=(2, 8, 6))
    shown /= np.linalg.norm(shown, axis=2, keepdims=True)
    values, nothing = np.repeat([0, 1], 4), np.zeros((2, 8))

    def loss(keys):
        said = np.stack([tip_scores(k, values, s, np.zeros(8)) for k, s in zip(keys, shown, strict=True)])
        return np.logaddexp(0.0, np.where(values == 1, -said, said)).mean()

    assert loss(tuned_keys(shown, values, nothing)) < loss(shown)


def test_a_probe_learns_what_can_be_told():
    keys = np.array([[-1.0, 0.1], [-1.0, -0.1], [1.0, 0.1], [1.0, -0.1]])
    scores = probe_scores(keys, np.array([0, 0, 1, 1]), np.array([[-0.5, 0.0], [0.5, 0.0]]))
    assert scores[0] < 0 < scores[1]


def test_every_method_tells_what_is_easy_and_a_probe_needs_no_text(world):
    data, seen = world
    tasks = tasks_of(data["ct"], 8)
    told = few_shot(data["ct"], seen["ct"], tasks)
    assert set(told) == set(METHODS)
    assert all(told[m][k]["value"] == pytest.approx(1.0) for m in METHODS for k in ("1", "16"))
    alone = few_shot_probe(data["ct"], seen["ct"].pool, seen["ct"].val, tasks)
    assert alone["linear probe"]["16"]["value"] == pytest.approx(1.0)
    assert few_shot(data["ct"], seen["ct"], []) == {m: {} for m in METHODS}
