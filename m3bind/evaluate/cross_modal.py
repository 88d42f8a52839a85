"""Cross-modal retrieval: an image of one modality finds images of another that share its group.

A query is an image of val in a group (data/groups.toml, or normality); its gallery is every val image of one
other modality (`pairs`), or of all others together (`all others`), whose membership is known.

    mAP           mean over queries of the average precision
    above chance  (mAP - chance) / (1 - chance): 0 for a random order, 1 for a perfect one. Where half of a
                  gallery is relevant, a random order already has an mAP of .5, and mAP cannot double
    R@10          relevant images among the best ten, as part of ten (of all relevant, where they are fewer)

Chance is that of a random order of the same gallery. Means are over groups and ordered pairs of modalities,
each counting once. The bootstrap draws patients of the queries and of the gallery, at once for all pairs. A
sample's gallery has a chance of its own, so what is clear of chance is told by the figure less the chance of
the very same sample (`over chance`), not by the figure beside the chance of the whole gallery.
`centred`: each modality's mean (of `calib`) is taken off first, in every system alike; it says only which
modality an image is of. `uncentred`: as the vectors are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.data.groups import NORMAL, Group
from m3bind.evaluate.embedded import Data, Embedded
from m3bind.evaluate.groups import membership
from m3bind.metrics import Ranked, expected_average_precision, interval

Floats = NDArray[np.float64]

REPEATS = 200
FEWEST = 5
"""Queries, relevant and irrelevant images below which a pair is left out."""
K = 10


@dataclass(frozen=True, eq=False)
class Side:
    """Val images of one modality: embeddings, membership, bootstrap."""

    embeddings: Floats
    """(N, D)."""
    member: NDArray[np.int8]
    """(N, 1 + G)."""
    weights: Floats
    """(R, N)."""


@dataclass(frozen=True, eq=False)
class Found:
    """One group asked from one modality in one gallery: figures (3,) and their draws (R, 3), in the order of
    MEASURES; the draws less the chance of their sample, (R, 3); and the chance of mAP and R@10."""

    source: str
    target: str
    group: str
    queries: int
    gallery: int
    relevant: int
    figures: Floats
    draws: Floats
    over: Floats
    chance: tuple[float, float]


MEASURES = ("mAP", "above chance", "R@10")
KINDS = ("centred", "uncentred")
GALLERIES = ("mean", "mean_all_others")
"""Keys of the means over pairs, and over galleries of all other modalities together."""

Draws = Mapping[tuple[str, str], Floats]
"""By kind and gallery: (R, 3) means under every bootstrap sample, to compare with another system's."""


def centre(embeddings: Floats, mean: Floats) -> Floats:
    """(N, D) less (D,), of unit norm again."""
    moved = embeddings - mean
    return np.asarray(moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12))


def _chances(relevant: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Of mAP and of R@10, where `relevant` of `n` are relevant."""
    recall = np.minimum(K, n) * relevant / n / np.minimum(np.maximum(relevant, 1.0), K)
    return expected_average_precision(relevant, n), recall


def ask(names: tuple[str, str, str], queries: Side, gallery: Side, column: int) -> Found | None:
    """One group (a column of membership) from one side in another; None where there is too little of it."""
    asking, known = queries.member[:, column] == 1, gallery.member[:, column] >= 0
    relevant = gallery.member[known, column] == 1
    if min(asking.sum(), relevant.sum(), (~relevant).sum()) < FEWEST:
        return None
    similarity = queries.embeddings[asking] @ gallery.embeddings[known].T
    ranked = Ranked.of(similarity, relevant)
    n, r = float(len(relevant)), float(relevant.sum())
    by_query, by_recall = ranked.measures(K)
    chance, chance_recall = (float(c) for c in _chances(np.asarray(r), np.asarray(n)))
    precision = float(by_query.mean())
    figures = np.asarray([precision, (precision - chance) / (1.0 - chance), by_recall.mean()])
    draws = np.full((len(queries.weights), 3), np.nan)
    over = draws.copy()
    for i, (own, other) in enumerate(zip(queries.weights[:, asking], gallery.weights[:, known], strict=True)):
        there, all_there = float(other[relevant].sum()), float(other.sum())
        if own.sum() == 0 or there in (0.0, all_there):
            continue
        precisions, recalls = ranked.measures(K, other)
        drawn, recalled = own @ precisions / own.sum(), own @ recalls / own.sum()
        by_chance, found_by_chance = (float(c) for c in _chances(np.asarray(there), np.asarray(all_there)))
        above = (drawn - by_chance) / (1.0 - by_chance)
        draws[i] = drawn, above, recalled
        over[i] = drawn - by_chance, above, recalled - found_by_chance
    return Found(
        *names, int(asking.sum()), len(relevant), int(r), figures, draws, over, (chance, chance_recall)
    )


def _estimates(figures: Floats, draws: Floats, over: Floats, chance: tuple[float, float]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for i, name in enumerate(MEASURES):
        low, high = interval(draws[:, i])
        told[name] = {"value": float(figures[i]), "low": low, "high": high}
        told[name]["over_chance_low"], told[name]["over_chance_high"] = interval(over[:, i])
    told["mAP"]["chance"], told["R@10"]["chance"] = chance
    return told


def _mean_draws(found: Sequence[Found]) -> Floats:
    """(R, 3): nan where one of them has no figure, so that every sample is a mean over the same."""
    return np.asarray(np.mean([f.draws for f in found], axis=0))


def _means(found: Sequence[Found]) -> dict[str, Any] | None:
    """Over what was asked, each counting once."""
    if not found:
        return None
    figures = np.mean([f.figures for f in found], axis=0)
    over = np.mean([f.over for f in found], axis=0)
    chance = np.mean([f.chance for f in found], axis=0)
    return _estimates(figures, _mean_draws(found), over, (float(chance[0]), float(chance[1])))


def _table(found: Sequence[Found]) -> list[dict[str, Any]]:
    return [
        {
            "from": f.source,
            "to": f.target,
            "group": f.group,
            "queries": f.queries,
            "gallery": f.gallery,
            "relevant": f.relevant,
            **_estimates(f.figures, f.draws, f.over, f.chance),
        }
        for f in found
    ]


def _retrieve(
    sides: Mapping[str, Side], names: Sequence[str], galleries: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Floats]]:
    """All figures of one kind, and the draws of its means by gallery."""
    pairs, others = [], []
    for column, name in enumerate(names):
        for source, target in permutations(sides, 2):
            found = ask((source, target, name), sides[source], sides[target], column)
            if found is not None:
                pairs.append(found)
        # Without a second modality that shows the group, the gallery of all others holds nothing relevant.
        for source in sides if GALLERIES[1] in galleries else ():
            rest = [side for m, side in sides.items() if m != source]
            together = Side(
                np.concatenate([s.embeddings for s in rest]),
                np.concatenate([_with_absent(s.member) for s in rest]),
                np.concatenate([s.weights for s in rest], axis=1),
            )
            found = ask((source, "all others", name), sides[source], together, column)
            if found is not None:
                others.append(found)
    by_group = {name: _means([f for f in pairs if f.group == name]) for name in names}
    told = {
        "pairs": _table(pairs),
        "mean": _means(pairs),
        "by_group": {name: means for name, means in by_group.items() if means is not None},
        "all_others": _table(others),
        "mean_all_others": _means(others),
    }
    means = zip(GALLERIES, (pairs, others), strict=True)
    return told, {gallery: _mean_draws(found) for gallery, found in means if found}


def _with_absent(member: NDArray[np.int8]) -> NDArray[np.int8]:
    """A modality that cannot show a group (all of its column unknown) shows it never."""
    told = member.copy()
    told[:, (member < 0).all(axis=0)] = 0
    return told


def cross_modal(
    seen: Mapping[str, Embedded],
    data: Mapping[str, Data],
    groups: Sequence[Group],
    kinds: Sequence[str] = KINDS,
    galleries: Sequence[str] = GALLERIES,
) -> tuple[dict[str, Any], Draws]:
    """By kind, of one system; and the draws of its means. Pairs are always asked, the others where wanted."""
    names = [NORMAL, *(g.id for g in groups)]
    members = {m: membership(m, d.val.found, groups) for m, d in data.items()}
    told: dict[str, Any] = {}
    draws: dict[tuple[str, str], Floats] = {}
    for kind in kinds:
        sides = {
            m: Side(
                centre(e.val, e.calib.mean(axis=0) if kind == "centred" else np.zeros(e.val.shape[1])),
                members[m],
                data[m].weights[:REPEATS],
            )
            for m, e in seen.items()
        }
        told[kind], own = _retrieve(sides, names, galleries)
        draws |= {(kind, gallery): rows for gallery, rows in own.items()}
    return told, draws
