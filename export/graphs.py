"""Torch towers to ONNX graphs in single precision.

Image and ECG towers: `input` -> `embedding` (N, D) and, where the tower has local vectors, `evidence`
(N, h, w, D). Text: `input_ids`, `attention_mask` -> `embedding` (N, D). N (and the text length L) may be any
number. A graph of more than 2 GB keeps its weights in a file beside it (`large.py`).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import torch
from torch import nn

from dicom_node.inference.protocol import EMBEDDING, EVIDENCE, IMAGE_INPUT, MASK_INPUT, TOKEN_INPUT
from export.large import save_graph

OPSET = 20
_TEXT_OUTPUT = "text_embedding"
"""The exporter names inner values after modules; a BERT has one called `embedding`, and ONNX Runtime refuses
a graph in which an output bears the same name. The output is renamed once the inner ones are."""


def export_tower(
    tower: nn.Module, input_shape: tuple[int, ...], path: Path, further: Sequence[str] = ()
) -> tuple[str, ...]:
    """Write an image or ECG tower, and tell its outputs; `input_shape` is of one sample. The tower answers
    with embedding, evidence (or None, or without it), and whatever `further` names."""
    example = torch.zeros((2, *input_shape), dtype=torch.float32)
    with torch.no_grad():
        answer = tower.eval()(example)
    local = [EVIDENCE] if len(answer) == 2 + len(further) else []
    offered = zip((EMBEDDING, *local, *further), answer, strict=True)
    names = [name for name, tensor in offered if tensor is not None]
    # The exporter only sees names of modules it is given, so the tower goes in as it is.
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            tower.eval(),
            (example,),
            input_names=[IMAGE_INPUT],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("N")},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    _write(program, path)
    return tuple(names)


def export_text(tower: nn.Module, path: Path) -> None:
    """Write a text tower."""
    batch, length = torch.export.Dim("N"), torch.export.Dim("L", max=512)
    # Distinct sizes, so that the exporter cannot take one for the other.
    ids = torch.ones((2, 7), dtype=torch.int64)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            tower.eval(),
            (ids, torch.ones_like(ids)),
            input_names=[TOKEN_INPUT, MASK_INPUT],
            output_names=[_TEXT_OUTPUT],
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    _write(program, path)
    model = onnx.load(path)
    rename_value(model.graph, EMBEDDING, f"{EMBEDDING}_inner")
    rename_value(model.graph, _TEXT_OUTPUT, EMBEDDING)
    save_graph(model, path)


def rename_value(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a value another name wherever it is made, used or described."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        if value.name == old:
            value.name = new


def _write(program: torch.onnx.ONNXProgram | None, path: Path) -> None:
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program; use the torch version of pyproject.toml.")
    model = program.model_proto
    # Stack traces of the exporter's machine, and shapes that ONNX Runtime infers by itself.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    save_graph(model, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter warns of its own internals; what matters is measured afterwards (`parity.py`)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
