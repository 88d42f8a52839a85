"""What is varied, and from where."""

import json

import pytest

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe
from m3bind.evaluate.ablate import (
    WHAT,
    ablate,
    base_key,
    dealt,
    finished,
    keep,
    row_key,
    shortened,
    variants,
)
from m3bind.evaluate.systems import UNBOUND

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("mini")


@pytest.mark.parametrize("what", ["weight", "rank", "student"])
def test_the_recipes_own_value_is_among_the_others(recipe, what):
    found = variants(recipe, what)
    assert len({v.value for v in found}) == len(found) > 2
    (own,) = [v for v in found if v.standard]
    assert own.recipe == recipe
    assert all(v.recipe != recipe for v in found if v is not own)


def test_weight_and_rank_begin_at_nothing(recipe):
    assert variants(recipe, "weight")[0].recipe.bind.weight == 0.0
    assert variants(recipe, "rank")[0].recipe.bind.rank == 0


def test_an_unknown_kind_is_refused(recipe):
    with pytest.raises(ConfigError, match="weight, rank, student"):
        variants(recipe, "colour")


def test_runs_are_short(recipe):
    short = shortened(recipe, 3, 4)
    assert (short.bind.steps, short.distil.steps) == (3, 4)
    assert (short.bind.warmup, short.distil.warmup) == (recipe.bind.warmup, recipe.distil.warmup)
    assert short.bind.stop is None
    assert shortened(recipe, 10**6, 10**6).distil.steps == recipe.distil.steps
    assert short.evaluate.bootstrap == 200


def test_students_share_the_binding_of_the_recipes_row_and_processes_get_alike(recipe):
    rows = {v.name: v for kind in WHAT for v in variants(recipe, kind)}
    dealt_out = dealt(list(rows.values()), 2)
    assert len(dealt_out) == 2
    assert sorted(v.name for hand in dealt_out for binding in hand for v in binding) == sorted(rows)
    together = [b for hand in dealt_out for b in hand if len(b) > 1]
    assert len(together) == 1
    assert {v.what for v in together[0] if not v.standard} == {"student"}
    assert all(v.recipe.bind == recipe.bind for v in together[0])
    work = [sum(1 + len(b) for b in hand) for hand in dealt_out]
    assert abs(work[0] - work[1]) <= 2
    assert len(dealt(list(rows.values())[:1], 4)) == 1
    assert dealt([], 4) == []


def test_a_finished_row_stands_for_its_own_towers_and_settings_only(tmp_path):
    figures = {"seconds": {"bind": 1.0, "distil": float("nan")}}
    keep(tmp_path, "rank-2", "key", figures)
    assert finished(tmp_path, "rank-2", "key") == {"seconds": {"bind": 1.0, "distil": None}}
    assert finished(tmp_path, "rank-2", "other") is None
    assert finished(tmp_path, "rank-8", "key") is None


@pytest.mark.data
def test_a_run_whose_rows_are_all_there_trains_nothing(tmp_path):
    """Resumed by row: with towers that are no towers, any row that was done anew would fail."""
    short = shortened(only(load_recipe("mini"), "ct"), 2, 2)
    (tmp_path / "stages" / "pretrain").mkdir(parents=True)
    base = base_key(short, tmp_path)
    for variant in variants(short, "rank"):
        keep(tmp_path / "out", variant.name, row_key(base, variant.recipe), {"seconds": {}})
    keep(tmp_path / "out", UNBOUND, base, {"zero_shot": {}})
    told = ablate(short, tmp_path, ["rank"], tmp_path / "out", tmp_path, print, "m3bind ablate x")
    assert [r["value"] for r in told["runs"]] == ["0", "2", "8"]
    assert all(r["seconds"] == {} for r in told["runs"])
    assert json.loads((tmp_path / "out" / "ablation.json").read_text("utf-8")) == told


def only(recipe, modality):
    return recipe.model_copy(update={"modalities": {modality: recipe.modalities[modality]}})


def test_pretrained_towers_are_needed(recipe, tmp_path):
    with pytest.raises(ConfigError, match="m3bind pretrain"):
        ablate(recipe, tmp_path, ["rank"], tmp_path / "out", tmp_path, print, "m3bind ablate")
