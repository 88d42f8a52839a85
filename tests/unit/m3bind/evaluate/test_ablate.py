"""What is varied, and from where."""

import pytest

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe
from m3bind.evaluate.ablate import ablate, shortened, variants

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
    assert short.bind.stop is None


def test_pretrained_towers_are_needed(recipe, tmp_path):
    with pytest.raises(ConfigError, match="m3bind pretrain"):
        ablate(recipe, tmp_path, ["rank"], tmp_path / "out", tmp_path, print, "m3bind ablate")
