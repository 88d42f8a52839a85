"""Retrieval: from an image to captions, and from an image of one modality to images of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.data.captions import Caption, label_matrix, relation, state_matrix
from m3bind.data.catalogue import Labels, findings_of, illnesses_of
from m3bind.data.examples import Example
from m3bind.metrics import auc, precision_at

Floats = NDArray[np.float64]

GROUPS: Mapping[str, Mapping[str, frozenset[str]]] = {
    "malignant tumour": {
        "ct": frozenset({"ct.malignant_tumour"}),
        "pathology": frozenset({"pathology.adenocarcinoma", "pathology.squamous_cell_carcinoma"}),
    },
}
"""What can be found in more than one modality, and how each names it. Beside these there is `normal`: every
finding absent."""


def image_to_text(
    images: Floats, texts: Floats, found: Sequence[Example], captions: Sequence[Caption], k: int = 5
) -> dict[str, float]:
    """Part of the best k captions that is true, among captions known to be true or false of the image; and
    what chance would give."""
    ids = [f.id for f in findings_of(found[0].modality)]
    rel = relation(label_matrix([e.labels for e in found], ids), state_matrix(captions, ids))
    similarity = images @ texts.T
    precision, chance = [], []
    for row, scores in zip(rel, similarity, strict=True):
        known = row >= 0
        if (row == 1).any() and (row == 0).any():
            precision.append(precision_at(row[known] == 1, scores[known], k))
            chance.append(float((row[known] == 1).mean()))
    return {f"precision@{k}": float(np.mean(precision)), "chance": float(np.mean(chance))}


def group_of(modality: str, labels: Labels) -> str | None:
    """The group of an example, None where it is in none or its labels do not tell."""
    if all(labels.get(f.id) == 0 for f in illnesses_of(modality)):
        return "normal"
    for name, by_modality in GROUPS.items():
        if any(labels.get(i) == 1 for i in by_modality.get(modality, ())):
            return name
    return None


def cross_modal(embedded: Mapping[str, Floats], found: Mapping[str, Sequence[Example]]) -> dict[str, Any]:
    """For each ordered pair of modalities and each group: the chance that an image of the other modality in
    the query's group lies nearer than one that is not, mean over queries (.5 is chance). Embeddings are
    centred by modality first, in every system alike: a modality's mean says only which modality it is."""
    centred = {m: e - e.mean(axis=0) for m, e in embedded.items()}
    group = {m: np.asarray([group_of(m, e.labels) or "" for e in found[m]]) for m in embedded}
    pairs: dict[str, float] = {}
    for source, target in permutations(embedded, 2):
        for name in ("normal", *GROUPS):
            queries, inside = group[source] == name, (group[target] == name).astype(np.int64)
            if not queries.any() or not 0 < inside.sum() < len(inside):
                continue
            norm = np.linalg.norm(centred[source], axis=1, keepdims=True)
            similarity = (centred[source] / norm)[queries] @ (
                centred[target] / np.linalg.norm(centred[target], axis=1, keepdims=True)
            ).T
            pairs[f"{source} to {target}: {name}"] = float(np.mean([auc(row, inside) for row in similarity]))
    return {"pairs": pairs, "mean": float(np.mean(list(pairs.values())))}
