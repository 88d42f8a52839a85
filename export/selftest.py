"""The inputs a node tests itself with, and what the sealed graphs answer here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder
from dicom_node.inference.protocol import (
    EMBEDDING,
    EVIDENCE,
    IMAGE_INPUT,
    MASK_INPUT,
    SIGNATURE,
    TOKEN_INPUT,
    Runner,
)
from dicom_node.inference.texts import TextEncoder
from export.dicom import sample_values

SEED = 4091
SAMPLES = 2
MIN_COSINE = 0.99999
"""What a node must reach: single precision loses far less from one processor or runtime to another."""
LEVELS = 32
"""Steps per unit of a sealed input."""


def write_selftest(
    path: Path,
    encoders: Mapping[str, Encoder],
    runners: Mapping[str, Runner],
    text: tuple[Runner, TextEncoder],
    strings: Sequence[str],
) -> None:
    """Inputs with the answers of `runners`. The inputs are coarse copies of the sample studies that ship with
    the node anyway, so that no other patient's image leaves the data folder; synthetic ones for a modality
    without sample."""
    sealed: dict[str, NDArray[Any]] = {}
    for modality, encoder in encoders.items():
        given = realistic(sample_values(modality, encoder))
        if given is None:
            given = synthetic(encoder.input_shape)
        answer = runners[modality].run({IMAGE_INPUT: given})
        sealed |= {f"{modality}.input": given, f"{modality}.embedding": answer[EMBEDDING]}
        if encoder.evidence:
            # In half precision, which moves a cosine by less than 1e-6 and takes half the room.
            sealed[f"{modality}.evidence"] = answer[EVIDENCE].astype(np.float16).astype(np.float32)
        if SIGNATURE in answer:
            sealed[f"{modality}.{SIGNATURE}"] = answer[SIGNATURE]
    runner, tokenizing = text
    ids, mask = tokenizing.tokenize(strings)
    embedding = runner.run({TOKEN_INPUT: ids, MASK_INPUT: mask})[EMBEDDING]
    sealed |= {"text.strings": np.array(strings, dtype=np.str_), "text.embedding": embedding}
    sealed |= {"text.input_ids": ids, "text.attention_mask": mask}
    np.savez_compressed(path, allow_pickle=False, **sealed)


def realistic(values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """(SAMPLES, *shape) float32 from encoder inputs of that shape: the first and one from the middle, or the
    only one and its mirror image; None for none. Images at half their resolution, all rounded to 1/LEVELS, so
    that they compress."""
    if not values:
        return None
    chosen = [values[0], values[len(values) // 2] if len(values) > 1 else values[0][..., ::-1]]
    coarse = [_halved(each) if each.ndim == 3 else each for each in chosen]
    return np.asarray(np.round(np.stack(coarse) * LEVELS) / LEVELS, dtype=np.float32)


def _halved(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, H, W) with every two by two pixels at their mean; unchanged where H or W is odd."""
    channels, height, width = image.shape
    if height % 2 or width % 2:
        return image
    small = image.reshape(channels, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return np.asarray(small.repeat(2, axis=1).repeat(2, axis=2), dtype=np.float32)


def synthetic(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """(SAMPLES, *shape) float32: smooth blobs within -1 to 1 for images, sums of waves within -2 to 2 for
    waveforms; rounded to 1/64, so that they compress."""
    random = np.random.default_rng(SEED)
    if len(shape) == 2:
        time = np.linspace(0, 2 * np.pi, shape[1])
        rates = random.uniform(5, 120, size=(SAMPLES, shape[0], 4, 1))
        values = 0.5 * np.sin(rates * time + random.uniform(0, 2 * np.pi, rates.shape)).sum(axis=2)
    else:
        coarse = random.uniform(-1, 1, size=(SAMPLES, shape[0], 9, 9))
        values = _stretch(_stretch(coarse, 2, shape[1]), 3, shape[2])
    return np.asarray(np.round(values * 64) / 64, dtype=np.float32)


def _stretch(values: NDArray[np.float64], axis: int, size: int) -> NDArray[np.float64]:
    """Linear interpolation along one axis to `size`."""
    place = np.linspace(0, values.shape[axis] - 1, size)
    low = np.minimum(place.astype(int), values.shape[axis] - 2)
    part = (place - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    return np.asarray(np.take(values, low, axis) * (1 - part) + np.take(values, low + 1, axis) * part)
