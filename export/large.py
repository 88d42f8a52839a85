"""Graphs on disk, of whatever size.

An ONNX file is one protocol buffer, which cannot be larger than 2 GB. A graph with more weights than that
keeps them in a file beside it ("external data"), which the bundle lists and the node proves like any other.
"""

from __future__ import annotations

from pathlib import Path

import onnx

LARGEST = 1_900_000_000
"""Bytes of weights that a graph holds itself: under 2 GiB with room for all the rest."""
BESIDE = ".weights"
"""What the name of the other file ends in."""
SMALLEST = 1024
"""Bytes of a tensor below which it stays in the graph."""


def save_graph(model: onnx.ModelProto, path: Path, largest: int = LARGEST) -> None:
    """Write `model`, which holds all of its weights, to `path`; beyond `largest` bytes of weights, they go to
    one file beside it. `model` must not be used afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + BESIDE)
    beside.unlink(missing_ok=True)  # onnx would append to it
    if sum(len(tensor.raw_data) for tensor in model.graph.initializer) <= largest:
        onnx.save(model, path)
        return
    onnx.save(
        model,
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=beside.name,
        size_threshold=SMALLEST,
    )


def weights_beside(path: Path) -> tuple[Path, ...]:
    """The files that hold weights of the graph at `path`, but for itself."""
    model = onnx.load(path, load_external_data=False)
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return tuple(path.parent / name for name in sorted({e.value for e in entries if e.key == "location"}))
