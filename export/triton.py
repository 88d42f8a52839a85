"""A bundle as a model repository that NVIDIA Triton, or KServe with it, serves as it is.

    REPO/<modality>/config.pbtxt        REPO/<modality>/1/model.onnx
    REPO/text/config.pbtxt              REPO/text/1/model.onnx

Inputs and outputs keep their names and types (`dicom_node/inference/protocol.py`); single requests are put
together to batches on the server. The names of models are those of the bundle's parts, so that one repository
serves one bundle. The format: docs/user_guide/model_repository.md and model_configuration.md of
github.com/triton-inference-server/server, messages of `model_config.proto`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from dicom_node.bundle.manifest import Encoder, Text
from dicom_node.bundle.store import Bundle
from dicom_node.errors import ConfigError
from dicom_node.inference.selftest import TEXT

VERSION = "1"
MODEL = "model.onnx"
CONFIG = "config.pbtxt"
MAX_BATCH = 32
PREFERRED_BATCHES = (8, 16, 32)
QUEUE_MICROSECONDS = 2000
"""How long a request waits for others: less than one image takes on a GPU with its transfer."""
TYPES: dict[int, str] = {
    onnx.TensorProto.FLOAT: "TYPE_FP32",
    onnx.TensorProto.INT64: "TYPE_INT64",
}
"""ONNX type to the name in `model_config.proto`."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output, without its batch axis."""

    name: str
    type: str
    shape: tuple[int, ...]
    """-1 where any number will do."""


@dataclass(frozen=True, slots=True)
class Model:
    """One graph as the server is told of it."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def write_repository(bundle: Bundle, out: Path, gpus: int = 0) -> tuple[Model, ...]:
    """Write the repository `out`, which must not exist or be empty, and tell its models; `gpus` instances of
    each on every GPU, 0 for one on the CPU.

    Raises ConfigError where something else lies there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an empty folder. Give another --out, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    made = []
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "repository"
        parts: dict[str, Encoder | Text] = {**bundle.manifest.encoders, TEXT: bundle.manifest.text}
        for name, part in parts.items():
            version = folder / name / VERSION
            version.mkdir(parents=True)
            file = bundle.path(part.file)
            shutil.copyfile(file, version / MODEL)
            for weights in part.weights:  # the graph names them relative to its own folder
                beside = version / bundle.path(weights).relative_to(file.parent)
                beside.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle.path(weights), beside)
            model = describe(name, file)
            (folder / name / CONFIG).write_text(config_text(model, gpus), "utf-8")
            made.append(model)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return tuple(made)


def describe(name: str, file: Path) -> Model:
    """What the graph in `file` takes and gives. Raises ConfigError for a type that no bundle has."""
    graph = onnx.load(file, load_external_data=False).graph
    return Model(name, _tensors(graph.input), _tensors(graph.output))


def _tensors(values: Sequence[onnx.ValueInfoProto]) -> tuple[Tensor, ...]:
    told = []
    for value in values:
        kind = value.type.tensor_type
        if kind.elem_type not in TYPES:
            raise ConfigError(f"{value.name} is of ONNX type {kind.elem_type}, which no bundle has.")
        sizes = [axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim]
        told.append(Tensor(value.name, TYPES[kind.elem_type], tuple(sizes[1:])))
    return tuple(told)


def config_text(model: Model, gpus: int = 0) -> str:
    """config.pbtxt: a `ModelConfig` in protobuf's text format."""
    batches = ", ".join(str(batch) for batch in PREFERRED_BATCHES)
    kind = "KIND_GPU" if gpus else "KIND_CPU"
    return "\n".join(
        [
            f"name: {json.dumps(model.name)}",
            'backend: "onnxruntime"',
            f"max_batch_size: {MAX_BATCH}",
            *(_tensor("input", tensor) for tensor in model.inputs),
            *(_tensor("output", tensor) for tensor in model.outputs),
            f"dynamic_batching {{ preferred_batch_size: [{batches}] "
            f"max_queue_delay_microseconds: {QUEUE_MICROSECONDS} }}",
            f"instance_group [ {{ count: {max(gpus, 1)} kind: {kind} }} ]",
            "version_policy { latest { num_versions: 1 } }",
            "",
        ]
    )


def _tensor(what: str, tensor: Tensor) -> str:
    sizes = ", ".join(str(size) for size in tensor.shape)
    return f"{what} [ {{ name: {json.dumps(tensor.name)} data_type: {tensor.type} dims: [{sizes}] }} ]"
