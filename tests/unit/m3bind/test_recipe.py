"""Recipes: data that decides a run."""

import pytest

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import compile_operations
from m3bind.config import load_recipe, shipped_recipes


def test_every_shipped_recipe_loads_and_its_preprocessing_compiles():
    assert "mini" in shipped_recipes()
    for name in shipped_recipes():
        recipe = load_recipe(name)
        for part in recipe.modalities.values():
            compile_operations(part.preprocess)


@pytest.mark.parametrize("word", ["mini", "recipes/mini.toml", "m3bind/recipes/mini.toml"])
def test_the_shipped_recipe_is_found_from_anywhere(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(word).name == "m3bind-mini"


def test_a_file_here_comes_before_the_one_that_ships(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mini.toml").write_text("name = 'mine'\n")
    with pytest.raises(ConfigError, match=r"mini\.toml: version"):
        load_recipe("recipes/mini.toml")


def test_no_file_is_told():
    with pytest.raises(ConfigError, match=r"No recipe at recipes/none\.toml"):
        load_recipe("recipes/none.toml")


@pytest.mark.parametrize("content", [b"name = 'x", b"\xff\xd8\xff"])
def test_a_file_that_is_no_toml_is_told(content, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"broken\.toml is no TOML"):
        load_recipe(str(path))


def test_an_unknown_recipe_is_named():
    with pytest.raises(ConfigError, match="no-such"):
        load_recipe("no-such")


def test_a_typing_mistake_in_a_recipe_is_refused(tmp_path):
    path = tmp_path / "wrong.toml"
    path.write_text("name = 'x'\nsead = 1\n")
    with pytest.raises(ConfigError, match="sead"):
        load_recipe(str(path))
