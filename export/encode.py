"""Examples to vectors, through a sealed ONNX graph and the bundle's own preprocessing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder
from dicom_node.inference.images import encode_samples
from dicom_node.inference.protocol import Runner
from dicom_node.pixels.ops import compile_operations
from m3bind.data.augment import augment_image, augment_waveforms
from m3bind.data.examples import Example

Floats = NDArray[np.float32]
Say = Callable[[str], None]
"""Told what is being done, one line at a time."""

CHUNK = 128
READERS = 2
SEED = 1913


def load_samples(examples: Sequence[Example], encoder: Encoder) -> list[Floats]:
    """Each example as the encoder's input: read, then preprocessed as the bundle says."""
    step = compile_operations(encoder.preprocess)
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(lambda example: step(example.load()).values, examples))


def encode_examples(examples: Sequence[Example], encoder: Encoder, runner: Runner, dimension: int) -> Floats:
    """(N, D) unit-norm embeddings, in the order of `examples`; (0, D) for none."""
    parts = [np.zeros((0, dimension), dtype=np.float32)]
    for start in range(0, len(examples), CHUNK):
        samples = load_samples(examples[start : start + CHUNK], encoder)
        parts.append(encode_samples(runner, samples, encoder.input_shape).embeddings)
    return np.concatenate(parts)


def load_altered(
    examples: Sequence[Example], encoder: Encoder, strength: Mapping[str, float]
) -> list[Floats]:
    """Likewise, each example altered as in training: a stand-in for other scanners, stains and positions."""
    random = np.random.default_rng(SEED)
    if encoder.reader == "ecg":
        rate = encoder.input_shape[1] / float(encoder.sampling["seconds"])
        return list(augment_waveforms(np.stack(load_samples(examples, encoder)), rate, strength, random))
    step = compile_operations(encoder.preprocess)
    return [step(augment_image(example.load(), strength, random)).values for example in examples]


def spread(examples: Sequence[Example], most: int) -> list[Example]:
    """At most `most` examples, evenly spaced through the list: the same ones every time."""
    if len(examples) <= most:
        return list(examples)
    return [examples[i] for i in np.linspace(0, len(examples) - 1, most).round().astype(int)]
