"""The supervised baseline: a linear probe on features that no training of ours has touched.

images    EfficientNet-Lite0 as it came from ImageNet, mean-pooled (N, 1280), 224 x 224 pixels whatever the
          recipe trains at, otherwise with the recipe's own preprocessing
signals   there are no start weights for them: ROCKET (Dempster et al., arXiv 1910.13051), 1,000 random
          kernels over random leads, of each the highest answer and the part of the time that it is positive

Logistic regression per finding on the whole training part (`train` and `calib`), features standardised there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from m3bind.config import ModalityRecipe, Recipe
from m3bind.data.examples import Example, examples
from m3bind.data.features import inputs
from m3bind.evaluate.embedded import Data, Rows
from m3bind.evaluate.features import Features, at_size, trunk_features
from m3bind.loop import Progress
from m3bind.towers.image import ImageTower

Floats = NDArray[np.float64]

SIDE = 224
KERNELS = 1000
LENGTHS = (7, 9, 11)
"""Of ROCKET's kernels."""
STRENGTH = 1e-3
"""C of the logistic regression, the same for all findings and not searched."""
LAST_BLOCK = 15
"""Any block does: nothing is trained."""


def rocket(signals: NDArray[np.float32], kernels: int = KERNELS, seed: int = 0) -> Features:
    """(N, 2 * kernels) features of signals (N, leads, T)."""
    random = np.random.default_rng(seed)
    shown = torch.from_numpy(signals)
    leads, time = shown.shape[1:]
    columns = []
    with torch.inference_mode():
        for _ in range(kernels):
            length = int(random.choice(LENGTHS))
            used = random.choice(
                leads, int(2 ** random.uniform(0, np.log2(min(leads, length) + 1))), replace=False
            )
            weights = random.normal(size=(1, len(used), length))
            weights -= weights.mean(axis=2, keepdims=True)
            dilation = int(2 ** random.uniform(0, np.log2((time - 1) / (length - 1))))
            padding = (length - 1) * dilation // 2 if random.random() < 0.5 else 0
            answer = nn.functional.conv1d(
                shown[:, torch.from_numpy(used)],
                torch.from_numpy(weights).float(),
                torch.tensor([random.uniform(-1, 1)], dtype=torch.float32),
                padding=padding,
                dilation=dilation,
            )[:, 0]
            columns += [answer.amax(dim=1), (answer > 0).float().mean(dim=1)]
    return torch.stack(columns, dim=1).numpy()


class StartFeatures:
    """Features of every example of one modality, by file."""

    def __init__(self, found: list[Example], features: Features) -> None:
        self._row = {e.path: i for i, e in enumerate(found)}
        self._features = features

    def of(self, rows: Rows) -> Floats:
        """(N, C) float64."""
        return self._features[[self._row[e.path] for e in rows.found]].astype(np.float64)


def start_features(recipe: Recipe, modality: str, cache: Path, progress: Progress) -> StartFeatures | None:
    """Of one modality; None for what is neither a picture nor a signal (a volume): it has no such start."""
    part, found = recipe.modalities[modality], list(examples(recipe, modality))
    if len(part.input_shape) == 2:
        progress(f"{modality}: random kernels over {len(found)} signals")
        return StartFeatures(found, rocket(inputs(part, found)))
    if len(part.input_shape) != 3 or part.input_shape[0] != 3:
        return None
    return StartFeatures(found, _imagenet(at_size(part, SIDE), modality, found, cache, progress))


def _imagenet(
    part: ModalityRecipe, modality: str, found: list[Example], cache: Path, progress: Progress
) -> Features:
    tower = ImageTower(1, LAST_BLOCK, pretrained=True)
    return trunk_features(tower, part, found, cache, f"{modality}-start", progress)


def probe(
    data: Data, train: Rows, shown: Floats, asked: Floats, strength: float = STRENGTH
) -> Mapping[str, Floats]:
    """Finding id to (V,) log odds: fitted on features `shown` (N, C) of `train`, asked of (V, C)."""
    mean, spread = shown.mean(axis=0), shown.std(axis=0) + 1e-6
    shown, asked = (shown - mean) / spread, (asked - mean) / spread
    told = {}
    for spec in data.specs:
        labels = train.label(spec.id)
        known = labels >= 0
        if 0 < (labels[known] == 1).sum() < known.sum():
            fitted = LogisticRegression(C=strength, max_iter=300).fit(shown[known], labels[known])
            told[spec.id] = np.asarray(fitted.decision_function(asked), dtype=np.float64)
    return told


def training_rows(recipe: Recipe, data: Data) -> Rows:
    """Everything of one modality that is not val."""
    found = [e for e in examples(recipe, data.modality) if e.split != "val"]
    return Rows.of(found, data.val.ids)
