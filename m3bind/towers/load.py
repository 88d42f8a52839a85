"""Towers from anywhere: a recipe's tower table to towers that every stage can train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import ConfigError
from m3bind.config import ModalityRecipe
from m3bind.towers.assemble import assemble
from m3bind.towers.base import TextTowerBase, VisualTower
from m3bind.towers.generic import read_generic
from m3bind.towers.layout import Layout, widened
from m3bind.towers.open_clip_layout import read_open_clip
from m3bind.towers.sentence import build_text
from m3bind.towers.tables import (
    GenericTowerRecipe,
    LoadedTowerRecipe,
    OpenClipTowerRecipe,
    TransformersTowerRecipe,
)
from m3bind.towers.tokens import load_tokens, vocabulary_fits
from m3bind.towers.transformers_layout import read_transformers


@dataclass(frozen=True, eq=False)
class LoadedTower:
    """What came from a folder."""

    visual: VisualTower
    text: TextTowerBase | None
    """None where the model has no text encoder: the recipe's own text start serves then."""
    preprocess: tuple[Operation, ...]
    """What the image encoder wants; a recipe states it in its own `preprocess`."""
    input_shape: tuple[int, ...]


def read_layout(recipe: LoadedTowerRecipe, reader: str) -> Layout:
    """What the files say, without the weights. Raises ConfigError that names what is missing or wrong."""
    path = Path(recipe.path).expanduser()
    if isinstance(recipe, TransformersTowerRecipe):
        return read_transformers(path, reader, recipe.frozen)
    if isinstance(recipe, OpenClipTowerRecipe):
        text_model = None if recipe.text_model is None else Path(recipe.text_model).expanduser()
        return read_open_clip(path, reader, recipe.frozen, text_model)
    if isinstance(recipe, GenericTowerRecipe):
        return read_generic(path, recipe.frozen)
    raise TypeError(f"{type(recipe).__name__} is no table of a loaded tower")


def load_visual(
    recipe: LoadedTowerRecipe, reader: str, dimension: int, *, weights: bool = True
) -> VisualTower:
    """The image, volume or signal tower in a space of `dimension`; without `weights` it is only built, for
    those of a checkpoint. Raises ConfigError that names what is missing or does not fit."""
    layout = widened(read_layout(recipe, reader), dimension)
    state = layout.weights().visual if weights else None
    return assemble(layout.visual, state, layout.origin, new_projection=layout.new_projection)


def load_text(
    recipe: LoadedTowerRecipe, reader: str, dimension: int, *, weights: bool = True
) -> TextTowerBase | None:
    """The text tower beside it, with its own tokenizer; None where the model has none."""
    layout = widened(read_layout(recipe, reader), dimension)
    if layout.text is None or layout.tokenizer is None:
        return None
    tokens = load_tokens(
        layout.tokenizer, layout.text.max_tokens, fixed=layout.fixed_length, hidden=layout.hidden_padding
    )
    tower = build_text(layout.text, tokens, layout.weights().text if weights else None, layout.origin)
    vocabulary_fits(tokens, tower.vocabulary, layout.tokenizer)
    return tower


def load_tower(
    recipe: LoadedTowerRecipe, reader: str, dimension: int, *, weights: bool = True
) -> LoadedTower:
    """Both towers, and what the image encoder wants to see."""
    layout = read_layout(recipe, reader)
    return LoadedTower(
        visual=load_visual(recipe, reader, dimension, weights=weights),
        text=load_text(recipe, reader, dimension, weights=weights),
        preprocess=layout.preprocess,
        input_shape=layout.input_shape,
    )


def check_modality(part: ModalityRecipe) -> None:
    """Raise ConfigError where a recipe shows a loaded tower other images than it was trained on: another
    shape, or other means and deviations. The rest of `preprocess` is the recipe's to decide."""
    if not isinstance(part.tower, LoadedTowerRecipe):
        return
    layout = read_layout(part.tower, part.reader)
    if tuple(part.input_shape) != layout.input_shape:
        raise ConfigError(
            f"input_shape of the modality is {list(part.input_shape)}, but {layout.origin} takes "
            f"{list(layout.input_shape)}."
        )
    wanted = [o.parameters for o in layout.preprocess if o.op == "normalise"]
    given = [o.parameters for o in part.preprocess if o.op == "normalise"]
    if wanted and given != wanted:
        raise ConfigError(
            f"preprocess of the modality must end as {layout.origin} wants its images; write\n"
            f"{operations_toml(layout.preprocess)}"
        )


def operations_toml(operations: tuple[Operation, ...]) -> str:
    """Operations as they stand in a recipe, to be copied into one."""

    def value(told: object) -> str:
        if isinstance(told, (list, tuple)):
            return f"[{', '.join(value(v) for v in told)}]"
        return (
            f'"{told}"'
            if isinstance(told, str)
            else str(told).lower()
            if isinstance(told, bool)
            else str(told)
        )

    def row(one: Operation) -> str:
        told = {"op": one.op, **one.parameters}
        return f"    {{ {', '.join(f'{k} = {value(v)}' for k, v in told.items())} }},"

    return "\n".join(["preprocess = [", *(row(one) for one in operations), "]"])
