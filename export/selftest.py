"""The inputs a node tests itself with, and what the sealed graphs answer here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder
from dicom_node.inference.protocol import EMBEDDING, IMAGE_INPUT, MASK_INPUT, TOKEN_INPUT, Runner
from dicom_node.inference.texts import TextEncoder

SEED = 4091
SAMPLES = 2


def write_selftest(
    path: Path,
    encoders: Mapping[str, Encoder],
    runners: Mapping[str, Runner],
    text: tuple[Runner, TextEncoder],
    strings: Sequence[str],
) -> None:
    """Synthetic inputs (no patient's image leaves the data folder) with the answers of `runners`."""
    sealed: dict[str, NDArray[Any]] = {}
    for modality, encoder in encoders.items():
        given = synthetic(encoder.input_shape)
        sealed[f"{modality}.input"] = given
        sealed[f"{modality}.embedding"] = runners[modality].run({IMAGE_INPUT: given})[EMBEDDING]
    runner, tokenizing = text
    ids, mask = tokenizing.tokenize(strings)
    answer = runner.run({TOKEN_INPUT: ids, MASK_INPUT: mask})[EMBEDDING]
    sealed |= {"text.strings": np.array(strings, dtype=np.str_), "text.embedding": answer}
    sealed |= {"text.input_ids": ids, "text.attention_mask": mask}
    np.savez_compressed(path, allow_pickle=False, **sealed)


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
