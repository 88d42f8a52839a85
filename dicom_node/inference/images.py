"""Samples to vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InferenceError
from dicom_node.inference.batching import MAX_BATCH, batches
from dicom_node.inference.protocol import EMBEDDING, EVIDENCE, IMAGE_INPUT, Runner, as_floats
from dicom_node.records import ViewVectors


def encode_samples(
    runner: Runner,
    samples: Sequence[NDArray[np.float32]],
    input_shape: tuple[int, ...],
    max_batch: int = MAX_BATCH,
) -> ViewVectors:
    """Embed the samples of one view, each of `input_shape`: (C, H, W) or (12, T) float32.

    Raises InferenceError for no samples, a wrong shape, or an answer that is not finite.
    """
    if not samples:
        raise InferenceError("A view without samples cannot be encoded.")
    for sample in samples:
        if sample.shape != input_shape:
            raise InferenceError(
                f"The encoder takes samples of shape {list(input_shape)}, not {list(sample.shape)}: "
                "its preprocess list and input_shape in bundle.json do not fit each other."
            )
    answers = [runner.run({IMAGE_INPUT: batch}) for batch in batches(samples, max_batch)]
    embeddings = np.concatenate([as_floats(answer[EMBEDDING]) for answer in answers])
    if not np.isfinite(embeddings).all():
        raise InferenceError("The encoder answered with numbers that are not finite.")
    evidence = None
    if EVIDENCE in answers[0]:
        evidence = np.concatenate([as_floats(answer[EVIDENCE]) for answer in answers])
    return ViewVectors(embeddings=embeddings, evidence=evidence)
