"""Weights to 8 or 16 bits, arithmetic stays in single precision.

Every large weight is stored as int8 with one scale per output channel (per word for the embedding table) and
turned back by Cast and Mul. For convolutions and matrix products these two act on constants alone, so any
runtime folds them away when it loads the model: the file is four times smaller, speed and arithmetic are
those of single precision. (DequantizeLinear would say the same, but ONNX Runtime does not fold it by default
and pays for it at every call.) Activations are never quantised: on convolutions that ruins the vectors, and
dynamic scales would make a text's vector depend on its neighbours in the batch.

Where 8 bits cost a tower too much (`parity.py` measures it), its weights are kept in half precision, and
where even that does, as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from dicom_node.inference.protocol import SIGNATURE
from export.large import LARGEST, save_graph

SMALLEST = 4096
"""Weights with fewer numbers stay as they are: they cost little and carry depthwise filters and biases."""
LEVELS = 127
KEPT_WHOLE = SIGNATURE
"""What the names of weights begin with that stay as they are: the map behind the features of the scope, whose
numbers differ by orders of magnitude within one channel."""
Precision = Literal["int8", "float16", "float32"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""Smallest first."""
CLIPS = np.linspace(1.0, 0.7, 13)
"""Parts of a channel's largest weight tried as the end of its scale; the least squared error wins."""


@dataclass(frozen=True, slots=True)
class Role:
    """How an operator uses a weight."""

    position: int
    """Which of its inputs is the weight."""
    channel: Callable[[int], int]
    """Rank of the weight to the axis of its output channels."""


Shrink = Callable[
    [NDArray[np.float32], int], tuple[NDArray[np.int8] | NDArray[np.float16], NDArray[np.float32]]
]
"""A weight and the axis of its output channels to fewer bits, and scales that broadcast to it."""

ROLES = {
    "Conv": Role(1, lambda rank: 0),  # noqa: ARG005 # (out, in, ...)
    "MatMul": Role(1, lambda rank: rank - 1),  # (..., in, out)
    "Gather": Role(0, lambda rank: 0),  # noqa: ARG005 # (words, out)
}
"""Gemm is left out: the exporter writes it with a transposed weight, see `_gemm_channel`."""


def quantise(source: Path, target: Path, precision: Precision = "int8", largest: int = LARGEST) -> None:
    """Write `source` with its large weights in `precision` to `target`; with more than `largest` bytes of
    weights left, to a file beside it."""
    model = onnx.load(source)
    if precision != "float32":
        _shrink(model.graph, to_int8 if precision == "int8" else to_half)
    save_graph(model, target, largest)


def _shrink(graph: onnx.GraphProto, shrink: Shrink) -> None:
    """Every large weight by `shrink`, and nodes that restore it."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    done: dict[str, str] = {}
    for node in graph.node:
        channel = _channel(node, weights)
        if channel is None:
            nodes.append(node)
            continue
        position, axis = channel
        name = node.input[position]
        if node.op_type == "Gather":
            nodes += _gather(graph, node, numpy_helper.to_array(weights[name]), shrink, name not in done)
            done[name] = name
            continue
        if name not in done:
            done[name] = f"{name}_restored"
            nodes += _restore(graph, name, *shrink(numpy_helper.to_array(weights[name]), axis), done[name])
        node.input[position] = done[name]
        nodes.append(node)
    for name in done:
        graph.initializer.remove(weights[name])
    del graph.node[:]
    graph.node.extend(nodes)


def _channel(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> tuple[int, int] | None:
    """Input position and channel axis of a weight worth quantising; None for any other node."""
    if node.op_type == "Gemm":
        position, axis_of = 1, _gemm_channel(node)
    elif node.op_type in ROLES:
        role = ROLES[node.op_type]
        position, axis_of = role.position, role.channel
    else:
        return None
    name = node.input[position]
    weight = None if name.startswith(KEPT_WHOLE) else weights.get(name)
    if weight is None or weight.data_type != TensorProto.FLOAT or np.prod(weight.dims) < SMALLEST:
        return None
    return position, axis_of(len(weight.dims))


def _gemm_channel(node: onnx.NodeProto) -> Callable[[int], int]:
    transposed = any(a.name == "transB" and a.i == 1 for a in node.attribute)
    return lambda rank: 0 if transposed else rank - 1


def to_int8(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Weight to int8 and scales; scales keep their axes (size 1 but for `axis`), so that int8 * scale
    broadcasts to the weight."""
    others = tuple(a for a in range(weight.ndim) if a != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    largest = np.where(largest > 0, largest, 1.0)
    best = np.full(largest.shape, np.inf)
    scale = np.asarray(largest / LEVELS, dtype=np.float32)
    for clip in CLIPS:
        tried = largest * clip / LEVELS
        rounded = np.clip(np.round(weight / tried), -LEVELS, LEVELS)
        error = ((rounded * tried - weight) ** 2).sum(axis=others, keepdims=True)
        scale = np.where(error < best, tried, scale).astype(np.float32)
        best = np.minimum(error, best)
    return np.clip(np.round(weight / scale), -LEVELS, LEVELS).astype(np.int8), scale


def to_half(
    weight: NDArray[np.float32],
    axis: int,  # noqa: ARG001 # half precision needs no channels, to_int8 does
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Weight to half precision, and scales of 1, as nothing is scaled; values beyond its range (65504) stay
    at the end of it."""
    most = float(np.finfo(np.float16).max)
    return np.clip(weight, -most, most).astype(np.float16), np.ones([1] * weight.ndim, dtype=np.float32)


def _restore(
    graph: onnx.GraphProto,
    name: str,
    small: NDArray[np.int8] | NDArray[np.float16],
    scale: NDArray[np.float32],
    restored: str,
) -> list[onnx.NodeProto]:
    """Nodes that make `restored` from a smaller type; constants only."""
    graph.initializer.append(numpy_helper.from_array(small, f"{name}_{small.dtype}"))
    graph.initializer.append(numpy_helper.from_array(scale, f"{name}_scale"))
    return [
        helper.make_node("Cast", [f"{name}_{small.dtype}"], [f"{name}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [restored]),
    ]


def _gather(
    graph: onnx.GraphProto, node: onnx.NodeProto, table: NDArray[np.float32], shrink: Shrink, first: bool
) -> list[onnx.NodeProto]:
    """Look up small rows and their scales, and restore only what was looked up: the table stays small."""
    name, rows, out = node.input[0], node.input[1], node.output[0]
    small, scale = shrink(table, 0)
    if first:
        graph.initializer.append(numpy_helper.from_array(small, f"{name}_{small.dtype}"))
        graph.initializer.append(
            numpy_helper.from_array(np.broadcast_to(scale, (len(table), 1)).copy(), f"{name}_scale")
        )
    return [
        helper.make_node("Gather", [f"{name}_{small.dtype}", rows], [f"{out}_small"], axis=0),
        helper.make_node("Cast", [f"{out}_small"], [f"{out}_cast"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [f"{name}_scale", rows], [f"{out}_scale"], axis=0),
        helper.make_node("Mul", [f"{out}_cast", f"{out}_scale"], [out]),
    ]
