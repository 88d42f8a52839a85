"""Recipes: data that decides a run."""

import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import compile_operations
from m3bind.config import load_recipe, shipped_recipes


def test_every_shipped_recipe_loads_and_its_preprocessing_compiles():
    assert "m3bind-mini" in shipped_recipes()
    for name in shipped_recipes():
        recipe = load_recipe(name)
        assert recipe.name == name
        for part in recipe.modalities.values():
            compile_operations(part.preprocess)


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match="no-such"):
        load_recipe("no-such")


def test_a_typing_mistake_in_a_recipe_is_refused(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("name = 'x'\nsead = 1\n")
    with pytest.raises(ConfigError, match="sead"):
        load_recipe(str(path))
