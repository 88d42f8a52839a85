"""The shared space on a plane: t-SNE of val images of all modalities, for a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.manifold import TSNE

from m3bind.data.groups import NORMAL, Group
from m3bind.data.sources import share
from m3bind.evaluate.cross_modal import centre
from m3bind.evaluate.embedded import Data, Embedded
from m3bind.evaluate.groups import membership

MOST = 120
"""Images of each modality: more only hide each other."""
OTHER = "other"


def plane(
    seen: Mapping[str, Embedded], data: Mapping[str, Data], groups: Sequence[Group]
) -> list[dict[str, Any]]:
    """Points with `x`, `y`, `modality` and `group` (the first it is in), embeddings centred by modality."""
    rows, facts = [], []
    names = [NORMAL, *(g.id for g in groups)]
    for modality, own in data.items():
        order = sorted(range(len(own.val.found)), key=lambda i: share(f"plane:{own.val.found[i].path.name}"))
        chosen = sorted(order[:MOST])
        member = membership(modality, own.val.found, groups)
        rows.append(centre(seen[modality].val, seen[modality].calib.mean(axis=0))[chosen])
        for i in chosen:
            inside = np.flatnonzero(member[i] == 1)
            facts.append((modality, names[int(inside[0])] if len(inside) else OTHER))
    points = np.concatenate(rows)
    placed = TSNE(
        metric="cosine", init="random", perplexity=min(30.0, (len(points) - 1) / 3), random_state=0
    ).fit_transform(points.astype(np.float32))
    return [
        {"x": round(float(x), 2), "y": round(float(y), 2), "modality": m, "group": g}
        for (x, y), (m, g) in zip(placed, facts, strict=True)
    ]


def alike(points: Sequence[Mapping[str, Any]]) -> float:
    """Part of the points (two at the least) whose nearest other point on the plane is of their modality."""
    places = np.array([[p["x"], p["y"]] for p in points])
    modality = np.array([p["modality"] for p in points])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return float((modality[apart.argmin(axis=1)] == modality).mean())
