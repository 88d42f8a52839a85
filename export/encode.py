"""Examples to vectors, through a sealed ONNX graph and the bundle's own preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder
from dicom_node.inference.images import encode_samples
from dicom_node.inference.protocol import Runner
from dicom_node.pixels.ops import compile_operations
from dicom_node.records import ViewVectors
from m3bind.data.examples import Example

Floats = NDArray[np.float32]
Say = Callable[[str], None]
"""Told what is being done, one line at a time."""

CHUNK = 128
READERS = 2


def load_samples(examples: Sequence[Example], encoder: Encoder) -> list[Floats]:
    """Each example as the encoder's input: read, then preprocessed as the bundle says."""
    step = compile_operations(encoder.preprocess)
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda example: step(example.load()).values, examples))


def encode_examples(
    examples: Sequence[Example], encoder: Encoder, runner: Runner, dimension: int
) -> ViewVectors:
    """Embeddings (N, D), unit norm, in the order of `examples`, and signatures where the encoder gives them;
    (0, D) and none for no examples."""
    embeddings = [np.zeros((0, dimension), dtype=np.float32)]
    signatures = []
    for start in range(0, len(examples), CHUNK):
        samples = load_samples(examples[start : start + CHUNK], encoder)
        vectors = encode_samples(runner, samples, encoder.input_shape)
        embeddings.append(vectors.embeddings)
        if vectors.signatures is not None:
            signatures.append(vectors.signatures)
    told = np.concatenate(signatures) if signatures else None
    return ViewVectors(np.concatenate(embeddings), None, told)


def rows_of(vectors: ViewVectors, rows: NDArray[np.intp]) -> ViewVectors:
    """Some of N samples, without evidence."""
    signatures = None if vectors.signatures is None else vectors.signatures[rows]
    return ViewVectors(vectors.embeddings[rows], None, signatures)


def spread(examples: Sequence[Example], most: int) -> list[Example]:
    """At most `most` examples, evenly spaced through the list: the same ones every time."""
    if len(examples) <= most:
        return list(examples)
    return [examples[i] for i in np.linspace(0, len(examples) - 1, most).round().astype(int)]
