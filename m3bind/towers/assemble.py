"""A visual tower of any encoder of this package, by the kind that its specification names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from m3bind.towers.architecture import VisualArchitecture
from m3bind.towers.ctvit import FactorisedViT
from m3bind.towers.resnet import ResNet
from m3bind.towers.visual import EncoderTower, make_projection, width_after
from m3bind.towers.vit import ViT
from m3bind.towers.weights import load_strictly

ENCODERS: Mapping[str, Callable[[Any], nn.Module]] = {
    "vit": ViT,
    "resnet": ResNet,
    "factorised-vit": FactorisedViT,
}
"""By `kind`. Each has `stages()`, `head` and `features`, as `EncoderTower` wants them."""


def assemble(
    architecture: VisualArchitecture,
    state: Mapping[str, Tensor] | None,
    origin: str,
    *,
    new_projection: bool = False,
) -> EncoderTower:
    """The tower that `architecture` describes.

    `state` holds the encoder's weights by their names here and the projection's (`projection.0.weight`); None
    leaves all at random, for weights of a checkpoint. `new_projection` says that the projection starts at
    random and `state` holds nothing of it. Raises ConfigError, which names `origin`, where a weight is
    missing, left over or of another shape.
    """
    encoder = cast(Any, ENCODERS[architecture.encoder.kind](architecture.encoder))
    width_after(architecture.projection)
    projection = make_projection(architecture.projection, encoder.features)
    if state is not None:
        whole = nn.Module()
        for name, part in encoder.named_children():
            whole.add_module(name, part)
        if not new_projection:
            whole.add_module("projection", projection)
        load_strictly(whole, state, origin)
    return EncoderTower(encoder, projection, architecture.frozen)
