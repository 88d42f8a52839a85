"""The output `signature` of an encoder: a few numbers that tell its kind of input from any other.

What a frozen or trained network sees before the projection (mean and deviation over places of its lower map,
and its pooled features) tells kinds of images apart far better than an embedding, whose few directions are
about findings. These features, some thousands, leave the tower as they are; the data of the modality and
strangers are sent through the graph; and a linear map to at most 64 numbers, fitted on them, is written
behind the features into the same graph (`write_signature`). The node sees nothing of this but the output.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dicom_node.inference.protocol import SIGNATURE
from m3bind.towers.base import VisualTower

LEADS = 12
FEATURES = "scope_features"
"""What the graph calls them once `signature` stands behind them."""
TINY = 1e-6


class WithFeatures(nn.Module):
    """A tower whose last answer is the features for the scope, (N, R).

    `lower` and `pooled` are told twice; the exporter and ONNX Runtime compute them once.
    """

    def __init__(self, tower: VisualTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor | None, Tensor]:
        """Embedding, evidence or None, features."""
        embedding, evidence = self.tower(inputs)
        return embedding, evidence, scope_features(self.tower, inputs)


def scope_features(tower: VisualTower, inputs: Tensor) -> Tensor:
    """(N, R): statistics of the lower map, the pooled features, and of a signal what its leads tell."""
    lower = cast(Tensor, tower.lower(inputs))
    parts = [*_statistics(lower, signal=inputs.dim() == 3), tower.pooled(lower)]
    if inputs.dim() == 3:
        parts.append(signal_features(inputs))
    return torch.cat(parts, dim=1)


def _statistics(lower: Tensor, signal: bool) -> list[Tensor]:
    """Mean and deviation over places of (N, C, places...), or of (N, tokens, C) from an image."""
    if lower.dim() < 3:
        return []
    flat = lower.flatten(2) if lower.dim() > 3 or signal else lower.transpose(1, 2)
    mean = flat.mean(dim=2)
    return [mean, ((flat - mean[:, :, None]) ** 2).mean(dim=2).clamp_min(TINY).sqrt()]


def signal_features(signal: Tensor) -> Tensor:
    """(N, leads, T) mV to (N, 5 per lead, and 5 for twelve leads).

    For each lead the logarithms of its deviation, of its mobility and complexity (Hjorth 1970), its kurtosis
    and its largest value; of the limb leads I to aVF how far they break the laws that bind them (Einthoven:
    II = I + III; Goldberger: aVR = -(I + II) / 2, aVL = I - II / 2, aVF = II - I / 2), and how alike all are.
    """
    centred = signal - signal.mean(dim=2, keepdim=True)
    first = centred[:, :, 1:] - centred[:, :, :-1]
    second = first[:, :, 1:] - first[:, :, :-1]
    power, speed, bend = (_log_power(x) for x in (centred, first, second))
    fourth = ((centred**4).mean(dim=2) + TINY).log() - 2 * power
    parts = [power, speed - power, bend - speed, fourth, (centred.abs().amax(dim=2) + TINY).log()]
    if signal.shape[1] == LEADS:
        one, two, three, right, left, foot = (centred[:, i] for i in range(6))
        broken = torch.stack(
            [
                one + three - two,
                right + (one + two) / 2,
                left - one + two / 2,
                foot - two + one / 2,
                centred.mean(dim=1),
            ],
            dim=1,
        )
        parts.append(_log_power(broken) - (centred**2).mean(dim=(1, 2)).add(TINY).log()[:, None])
    return torch.cat(parts, dim=1)


def _log_power(signal: Tensor) -> Tensor:
    return ((signal**2).mean(dim=2) + TINY).log()


@dataclass(frozen=True, slots=True, eq=False)
class LinearMap:
    """signature = features @ weight + bias."""

    weight: NDArray[np.float32]
    """(R, K)"""
    bias: NDArray[np.float32]
    """(K,)"""

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """(N, R) to (N, K), as the graph computes it."""
        return np.asarray(features.astype(np.float32) @ self.weight + self.bias, dtype=np.float32)


def write_signature(graph: Path, linear: LinearMap) -> None:
    """Put `linear` behind the features in the file `graph`: its output `signature` (N, R) becomes (N, K)."""
    # Weights beside the graph stay where they are.
    model = onnx.load(graph, load_external_data=False)
    weight, bias = f"{SIGNATURE}_weight", f"{SIGNATURE}_bias"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == SIGNATURE:
                    names[index] = FEATURES
    model.graph.initializer.append(numpy_helper.from_array(linear.weight, weight))
    model.graph.initializer.append(numpy_helper.from_array(linear.bias, bias))
    model.graph.node.append(helper.make_node("MatMul", [FEATURES, weight], [f"{SIGNATURE}_product"]))
    model.graph.node.append(helper.make_node("Add", [f"{SIGNATURE}_product", bias], [SIGNATURE]))
    kept = [output for output in model.graph.output if output.name != SIGNATURE]
    described = helper.make_tensor_value_info(SIGNATURE, TensorProto.FLOAT, ["N", len(linear.bias)])
    del model.graph.output[:]
    model.graph.output.extend([*kept, described])
    onnx.save(model, graph)
