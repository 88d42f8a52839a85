"""docs/TRAINING.md names every command of `m3bind`, and every key of a recipe and of its augmentations."""

import re
from typing import Any, get_args

import pytest
import typer.main
from pydantic import BaseModel

from tests.support.tree import ROOT

pytestmark = pytest.mark.train

TRAINING = (ROOT / "docs" / "TRAINING.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"[a-z0-9_]+", " ".join(re.findall(r"`([^`]+)`", TRAINING))))
"""All words that stand in backquotes."""


def keys(model: type[BaseModel]) -> set[str]:
    found = set(model.model_fields)
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == model.__module__:
                found |= keys(kind)
    return found


def test_the_modality_table_names_every_key() -> None:
    from m3bind import config

    wanted = keys(config.ModalityRecipe)
    assert {"taps", "members", "widths", "balance"} <= wanted, "the walk over the models is broken"
    assert wanted <= NAMED


def test_every_augmentation_is_named() -> None:
    from m3bind.data.augment import IMAGE_KEYS
    from m3bind.data.augment_colour import KEYS as COLOUR
    from m3bind.data.augment_waveform import WAVEFORM_KEYS
    from m3bind.data.degrade import KEYS as GREY

    rows = {
        row.split("`")[-2]: set(re.findall(r"`([a-z_]+)`", row))
        for row in TRAINING.splitlines()
        if row.startswith("| ") and re.search(r"`[a-z_]+\.py` \|$", row)
    }
    assert rows == {
        "augment.py": set(IMAGE_KEYS),
        "degrade.py": set(GREY),
        "augment_colour.py": set(COLOUR),
        "augment_waveform.py": set(WAVEFORM_KEYS),
    }


@pytest.mark.parametrize("module", ["m3bind.cli", "export.cli"])
def test_calls_in_documents_name_commands_and_options_that_exist(module: str) -> None:
    import importlib

    name = {"m3bind.cli": "m3bind", "export.cli": "m3bind-export"}[module]
    command: Any = typer.main.get_command(importlib.import_module(module).app)
    called = set()
    for path in [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]:
        for words in re.findall(rf"(?:^|[`/ ]){name} ([a-z][^`\n#|]*)", path.read_text(encoding="utf-8")):
            first, *others = words.split()
            if first not in command.commands:
                assert not any(word.startswith("--") for word in others), f"{path.name}: {name} {words}"
                continue
            called.add(first)
            known = {o for p in command.commands[first].params for o in [*p.opts, *p.secondary_opts]}
            assert {word.split("=")[0] for word in others if word.startswith("--")} <= known, words
    assert called == set(command.commands)
