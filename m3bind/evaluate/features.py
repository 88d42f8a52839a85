"""What the trunk of a tower makes of examples, computed once and kept: features before the projection.

Systems that share a trunk (a tower before and after binding, where only projections moved) share the file.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dicom_node.bundle.manifest import Operation
from dicom_node.pixels.ops import compile_operations
from m3bind.config import ModalityRecipe
from m3bind.data.examples import Example, file_digest
from m3bind.loop import Progress
from m3bind.towers.base import VisualTower

BATCH = 16

Features = NDArray[np.float32]
Trunk = Callable[[NDArray[np.float32]], Features]
"""Inputs (n, *input_shape) to features (n, C)."""


class _Trunk(nn.Module):
    """A tower up to its projection."""

    def __init__(self, tower: VisualTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, C)."""
        return self.tower.pooled(cast(Tensor, self.tower.lower(inputs)))


def in_runtime(tower: VisualTower, input_shape: Sequence[int]) -> Trunk:
    """The trunk in ONNX Runtime: on a CPU four to ten times faster than in torch, and the same numbers."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # the tracing exporter announces its successor
        torch.onnx.export(
            _Trunk(tower).eval(),
            (torch.zeros(1, *input_shape),),
            Path(folder) / "trunk.onnx",
            dynamo=False,
            input_names=["inputs"],
            output_names=["features"],
            dynamic_axes={"inputs": {0: "n"}, "features": {0: "n"}},
        )
        graph = (Path(folder) / "trunk.onnx").read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Waiting threads sleep: a spinning one takes the core from whoever else works on this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    return lambda batch: cast(Features, session.run(None, {"inputs": batch})[0])


def _weights_digest(tower: VisualTower) -> str:
    """Of everything but the projection."""
    own = {id(value) for value in (*tower.projection.parameters(), *tower.projection.buffers())}
    digest = hashlib.sha256()
    for name, value in (*tower.named_parameters(), *tower.named_buffers()):
        if id(value) not in own:
            digest.update(name.encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()


def trunk_features(
    tower: VisualTower,
    part: ModalityRecipe,
    found: Sequence[Example],
    cache: Path,
    name: str,
    progress: Progress,
) -> Features:
    """(N, C) float32 features of the examples, read from `cache` where they were computed before.

    The key covers the bytes of the files, the operations and what they make of the first example today, and
    the weights of the trunk.
    """
    if not found:
        return np.zeros((0, tower.features), dtype=np.float32)
    step = compile_operations(part.preprocess)
    facts = {
        "files": [[e.dataset, e.path.name, file_digest(e.path)] for e in found],
        "reader": part.reader,
        "preprocess": [o.model_dump(mode="json") for o in part.preprocess],
        "weights": _weights_digest(tower),
        "sample": hashlib.sha256(np.round(step(found[0].load()).values, 3).tobytes()).hexdigest(),
    }
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    path = cache / f"features-{name}-{key}.npy"
    if not path.is_file():
        progress(f"{name}: features of {len(found)} examples")
        run = in_runtime(tower, part.input_shape)
        rows = []
        for start in range(0, len(found), BATCH):
            rows.append(run(np.stack([step(e.load()).values for e in found[start : start + BATCH]])))
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, np.concatenate(rows))
        partial.replace(path)
    return np.asarray(np.load(path), dtype=np.float32)


def at_size(part: ModalityRecipe, side: int) -> ModalityRecipe:
    """The same preprocessing, but to images of `side` x `side` pixels."""
    operations = tuple(
        Operation.model_validate({**o.model_dump(mode="json"), "size": [side, side]})
        if o.op == "resize"
        else o
        for o in part.preprocess
    )
    return part.model_copy(
        update={"preprocess": operations, "input_shape": (part.input_shape[0], side, side)}
    )
