"""Retrieval between images and captions.

A candidate caption says what is there: it states findings present, or that all is normal. (That something is
absent is true of nearly every image; captions that deny would bring every figure near 1.) Beside an image a
caption is true, false, or undecided where labels do not tell; the undecided are no candidates of that image.
An image has several true captions, worded differently.

    image to text R@K   share of images with a true caption among the best K
    text to image R@K   share of captions with an image they are true of among the best K
Chance is what a random order of the same candidates gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.data.captions import relation, state_matrix
from m3bind.evaluate.embedded import Data, Embedded
from m3bind.metrics import expected_hits_at, hits_at, interval, mean_draws, resampled_weights

Floats = NDArray[np.float64]
RANKS = (1, 5, 10)


def _figures(
    similarity: Floats, relations: NDArray[np.int8], groups: NDArray[np.int64], repeats: int
) -> dict[str, Any]:
    """R@K of queries that have a true and a false candidate, resampled by `groups`."""
    usable = (relations == 1).any(axis=1) & (relations == 0).any(axis=1)
    similarity, relations, groups = similarity[usable], relations[usable], groups[usable]
    told: dict[str, Any] = {"queries": int(usable.sum())}
    if not usable.any():
        return told
    weights = resampled_weights(groups, repeats, seed=0)
    told["true_per_query"] = float((relations == 1).sum(axis=1).mean())
    told["candidates"] = float((relations >= 0).sum(axis=1).mean())
    for k in RANKS:
        hits = hits_at(similarity, relations, k)
        low, high = interval(mean_draws(hits, weights))
        told[f"R@{k}"] = {
            "value": float(hits.mean()),
            "low": low,
            "high": high,
            "chance": float(expected_hits_at(relations, k).mean()),
        }
    return told


def image_text(data: Data, seen: Embedded, repeats: int) -> dict[str, Any]:
    """Both directions of one modality on val; the interval resamples patients, or statements (captions that
    say the same)."""
    states = state_matrix(data.captions, data.val.ids)
    relations = relation(data.val.labels, states)
    similarity = seen.val @ seen.captions.T
    same = np.unique(states, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return {
        "image_to_text": _figures(similarity, relations, data.val.groups, repeats),
        "text_to_image": _figures(similarity.T, relations.T, same, repeats),
    }
