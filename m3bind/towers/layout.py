"""What reading any layout gives: how towers are built, what they want to see, and where the weights are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import ConfigError
from m3bind.towers.architecture import ProjectionLayer, TextArchitecture, VisualArchitecture
from m3bind.towers.visual import width_after
from m3bind.towers.weights import State


@dataclass(frozen=True, eq=False)
class Weights:
    """By the names of this package; see `assemble.assemble` and `sentence.build_text`."""

    visual: State
    text: State | None


@dataclass(frozen=True, eq=False)
class Layout:
    """One model on disk, read but not yet built."""

    origin: str
    """Its folder or file, for messages."""
    visual: VisualArchitecture
    text: TextArchitecture | None
    """None where it has no text encoder: the recipe's own text start is used then."""
    tokenizer: Path | None
    """Folder of the tokenizer's files."""
    fixed_length: bool
    """Whether every text is padded to the same length (SigLIP, CoCa)."""
    preprocess: tuple[Operation, ...]
    """What the image encoder wants done to what the reader hands over."""
    input_shape: tuple[int, ...]
    """Of one sample."""
    weights: Callable[[], Weights]
    """Reads them, when they are wanted."""
    new_projection: bool = False
    """Whether the visual projection starts at random, as the description asked for."""
    hidden_padding: bool = False
    """Whether the mask hides the padding to `fixed_length`: SigLIP looks at it, CoCa does not."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises ConfigError where the file is missing or no object."""
    if not path.is_file():
        raise ConfigError(f"{path} is missing: take it from where the model comes from.")
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold a JSON object.")
    return content


def linear(out: int, bias: bool = False) -> tuple[ProjectionLayer, ...]:
    """The projection of most models: one layer."""
    return (ProjectionLayer(layer="linear", out=out, bias=bias),)


def _widened(layers: Sequence[ProjectionLayer], dimension: int, origin: str) -> tuple[ProjectionLayer, ...]:
    width = width_after(layers)
    if width == dimension:
        return tuple(layers)
    if width > dimension:
        raise ConfigError(
            f"The towers of {origin} have {width} dimensions, the recipe {dimension}: set `dimension` of the "
            f"recipe to {width} or more. (Towers of fewer are widened with zeros, which keeps every cosine.)"
        )
    if layers[-1].layer != "linear":
        raise ConfigError(
            f"The projection of {origin} ends with {layers[-1].layer!r} at {width} dimensions and cannot be "
            f"widened to the recipe's {dimension}: set `dimension` of the recipe to {width}."
        )
    return (*layers[:-1], layers[-1].model_copy(update={"out": dimension}))


def _padded(state: State, layers: Sequence[ProjectionLayer], dimension: int) -> State:
    """Rows of zeros behind the last layer's own, which is linear where any are missing (`_widened`)."""
    padded = dict(state)
    if width_after(layers) == dimension:
        return padded
    for name in ("weight", "bias"):
        key = f"projection.{len(layers) - 1}.{name}"
        if key in state:
            missing = dimension - len(state[key])
            padded[key] = torch.nn.functional.pad(
                state[key], (0, 0, 0, missing) if name == "weight" else (0, missing)
            )
    return padded


def widened(layout: Layout, dimension: int) -> Layout:
    """The same towers in a space of `dimension`: the projections get rows of zeros, so every cosine stays.

    Raises ConfigError where the towers have more dimensions than that.
    """
    visual, text = layout.visual, layout.text
    if layout.new_projection:
        image_layers = linear(dimension, bias=True)
    else:
        image_layers = _widened(visual.projection, dimension, layout.origin)
    visual = visual.model_copy(update={"projection": image_layers})
    if text is not None:
        text_layers = _widened(text.projection, dimension, layout.origin)
        text = text.model_copy(update={"projection": text_layers})

    def weights() -> Weights:
        found = layout.weights()
        sentence = found.text
        if sentence is not None and layout.text is not None:
            sentence = _padded(sentence, layout.text.projection, dimension)
        visual_state = found.visual
        if not layout.new_projection:
            visual_state = _padded(visual_state, layout.visual.projection, dimension)
        return Weights(visual_state, sentence)

    return replace(layout, visual=visual, text=text, weights=weights)
