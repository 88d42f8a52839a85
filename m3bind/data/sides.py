"""The image side of a stage: examples by their indices, as features of a tower, with gradient.

What lies behind it may differ by modality (maps of frozen blocks kept on disk, signals augmented anew each
time); a stage sees the Protocol only. Chance comes from the generator that is handed in and from nowhere
else: that is what lets a stage that was killed go on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from m3bind.config import ModalityRecipe, Recipe
from m3bind.data.augment_waveform import augment_waveforms
from m3bind.data.examples import Example, Split, examples
from m3bind.data.features import inputs, lower_maps, seed_of, variants_of
from m3bind.loop import Progress
from m3bind.towers.base import VisualTower


class ImageSide(Protocol):
    """The examples of one modality and split through one tower, up to what comes before its projection."""

    def __call__(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """(n, C) features of augmented views of the examples at `indices`, with gradient."""
        ...  # pragma: no cover

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, C) features of the examples as they are, as a node will see them."""
        ...  # pragma: no cover


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights lie."""
    return next(module.parameters()).device


class CachedMaps:
    """Images whose lower blocks are frozen: a random variant of each, through the trained blocks.

    maps (V, N, ...) float16; variant 0 is the plain image.
    """

    def __init__(self, tower: VisualTower, maps: Tensor) -> None:
        self._tower, self._maps = tower, maps

    def __call__(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """(n, C)."""
        return self._features(random.integers(0, len(self._maps), len(indices)), indices)

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, C)."""
        return self._features(np.zeros(len(indices), dtype=np.int64), indices)

    def _features(self, variants: NDArray[np.int64], indices: NDArray[np.int64]) -> Tensor:
        chosen = self._maps[torch.from_numpy(variants), torch.from_numpy(indices)]
        return self._tower.pooled(chosen.to(device_of(self._tower)).float())


class Waveforms:
    """Signals after preprocessing, augmented anew each time; signals (N, leads, T) mV at `rate` Hz."""

    def __init__(
        self, tower: VisualTower, signals: NDArray[np.float32], rate: float, strength: dict[str, float]
    ) -> None:
        self._tower, self._signals, self._rate, self._strength = tower, signals, rate, strength

    def __call__(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """(n, C)."""
        return self._features(augment_waveforms(self._signals[indices], self._rate, self._strength, random))

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, C)."""
        return self._features(self._signals[indices])

    def _features(self, signals: NDArray[np.float32]) -> Tensor:
        shown = torch.from_numpy(signals).to(device_of(self._tower))
        return self._tower.pooled(self._tower.lower(shown))


class FixedFeatures:
    """Features that no stage changes any more, computed once: (V, N, C), variant 0 of the plain image."""

    def __init__(self, features: Tensor) -> None:
        self._features = features

    def __call__(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        """(n, C), of a random variant of each."""
        variants = random.integers(0, len(self._features), len(indices))
        return self._features[torch.from_numpy(variants), torch.from_numpy(indices)]

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        """(n, C)."""
        return self._features[0, torch.from_numpy(indices)]


def fix_features(side: ImageSide, count: int, views: int, random: np.random.Generator) -> Tensor:
    """(1 + views, N, C) float32 of the `count` examples of a side: as they are, then augmented."""
    chunks = [np.arange(i, min(i + 64, count)) for i in range(0, count, 64)]
    with torch.inference_mode():
        rows = [torch.cat([side.plain(chunk).float() for chunk in chunks])]
        rows += [torch.cat([side(chunk, random).float() for chunk in chunks]) for _ in range(views)]
    return torch.stack(rows).clone()


@dataclass(frozen=True, eq=False)
class Opening:
    """What it takes to open the images of one modality and split."""

    part: ModalityRecipe
    found: Sequence[Example]
    tower: VisualTower
    split: Split
    name: str
    """Of modality and split."""
    seed: int
    cache: Path
    progress: Progress


def _waveforms(opening: Opening) -> ImageSide:
    part = opening.part
    signals = inputs(part, opening.found)
    rate = signals.shape[2] / float(part.sampling["seconds"])
    return Waveforms(opening.tower, signals, rate, part.augment)


def _images(opening: Opening) -> ImageSide:
    variants = variants_of(opening.part) if opening.split == "train" else 1
    maps = lower_maps(
        opening.part,
        opening.found,
        opening.tower,
        variants=variants,
        seed=opening.seed,
        cache=opening.cache,
        name=opening.name,
        progress=opening.progress,
    )
    return CachedMaps(opening.tower, maps)


OPENERS: dict[str, Callable[[Opening], ImageSide]] = {"ecg": _waveforms}
"""By reader; any other reader gives pictures."""


def image_side(
    recipe: Recipe, modality: str, tower: VisualTower, split: Split, cache: Path, progress: Progress
) -> tuple[ImageSide, list[Example]]:
    """The images of one modality and split, ready to be embedded, and the examples with their labels."""
    part, found = recipe.modalities[modality], list(examples(recipe, modality, split))
    seed = seed_of(recipe, modality)
    opening = Opening(part, found, tower, split, f"{modality}-{split}", seed, cache, progress)
    return OPENERS.get(part.reader, _images)(opening), found
