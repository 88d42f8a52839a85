"""Samples to vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import InferenceError
from dicom_node.inference.batching import MAX_BATCH, batches
from dicom_node.inference.protocol import EMBEDDING, EVIDENCE, IMAGE_INPUT, SIGNATURE, Runner, as_floats
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
    embeddings, evidence, signatures = (
        np.concatenate([as_floats(answer[name]) for answer in answers]) if name in answers[0] else None
        for name in (EMBEDDING, EVIDENCE, SIGNATURE)
    )
    if embeddings is None:
        raise InferenceError(f"The encoder has no output {EMBEDDING}: export the bundle again.")
    if not all(np.isfinite(found).all() for found in (embeddings, signatures) if found is not None):
        raise InferenceError("The encoder answered with numbers that are not finite.")
    return ViewVectors(embeddings=embeddings, evidence=evidence, signatures=signatures)
