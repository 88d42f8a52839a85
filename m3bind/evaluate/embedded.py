"""Everything that the figures are made of, as arrays: once it is here, no tower and no file is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from m3bind.config import Recipe
from m3bind.data.captions import Caption, caption_pool, label_matrix, prompts
from m3bind.data.catalogue import FindingSpec, findings_of
from m3bind.data.examples import Example, examples
from m3bind.data.sources import share
from m3bind.evaluate.features import trunk_features
from m3bind.evaluate.systems import System, anchor, embed_texts, project
from m3bind.loop import Progress
from m3bind.metrics import resampled_weights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Examples of one modality and their labels."""

    found: Sequence[Example]
    ids: tuple[str, ...]
    labels: NDArray[np.int8]
    """(N, F) of 1, 0, -1 (not known), by `ids`."""
    groups: Ints
    """(N,) patient or group, numbered."""
    sets: Ints
    """(N,) data set, numbered."""

    @classmethod
    def of(cls, found: Sequence[Example], ids: Sequence[str]) -> Rows:
        """Of examples; `ids` are all findings of the modality."""
        return cls(
            found,
            tuple(ids),
            label_matrix([e.labels for e in found], ids),
            numbered([e.group for e in found]),
            numbered([e.dataset for e in found]),
        )

    def label(self, finding: str) -> Ints:
        """(N,) of one finding."""
        return self.labels[:, self.ids.index(finding)].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Data:
    """One modality: what is measured on, what is calibrated on, and what few-shot learning may see."""

    modality: str
    specs: tuple[FindingSpec, ...]
    val: Rows
    calib: Rows
    pool: Rows
    """Examples of the training part, see `support_pool`."""
    captions: tuple[Caption, ...]
    """Those that say what is there, see `says_what_is`."""
    weights: Floats
    """(R, N) of bootstrap samples of `val`, whole groups being drawn: one draw for every figure, so that
    figures of two systems can be compared sample by sample."""

    @property
    def illnesses(self) -> tuple[FindingSpec, ...]:
        """Specs that are findings."""
        return tuple(s for s in self.specs if s.illness)


@dataclass(frozen=True, eq=False)
class Embedded:
    """One modality as one system sees it. Embeddings have unit norm."""

    val: Floats
    """(N, D), as are the next two."""
    calib: Floats
    pool: Floats
    anchors: Mapping[str, Floats]
    """Finding id to (2, D): the direction of its prompts against, and of those for."""
    captions: Floats
    """(M, D)."""

    def margins(self, finding: str, of: Floats) -> Floats:
        """(N,) cosine to the prompts for a finding less that to those against, of embeddings (N, D)."""
        against, towards = self.anchors[finding]
        margins: Floats = of @ (towards - against)
        return margins


def numbered(names: Sequence[str]) -> Ints:
    """(N,) each name as a number of its own."""
    return np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)[1].reshape(-1).astype(np.int64)


POOL_PER_CLASS = 40
"""Examples with, and without, each finding from which few shots are drawn."""


def support_pool(found: Sequence[Example], ids: Sequence[str]) -> list[Example]:
    """Of training examples: for each finding and either answer, POOL_PER_CLASS at most, one of each group
    before a second of any; which ones depends on their names alone."""
    ranked = sorted(found, key=lambda e: share(f"pool:{e.path.name}"))
    seen: dict[str, int] = {}
    turn = []
    for example in ranked:
        turn.append(seen.get(example.group, 0))
        seen[example.group] = turn[-1] + 1
    order = np.argsort(np.asarray(turn), kind="stable")
    chosen: set[int] = set()
    for identifier in ids:
        for answer in (0, 1):
            wanted = [int(i) for i in order if ranked[i].labels.get(identifier) == answer]
            chosen.update(wanted[:POOL_PER_CLASS])
    return [ranked[i] for i in sorted(chosen)]


def says_what_is(caption: Caption, illnesses: Sequence[str]) -> bool:
    """Whether a caption states only what is present, or that every illness is absent (normal)."""
    if 1 in caption.states.values():
        return 0 not in caption.states.values()
    return all(caption.states.get(i) == 0 for i in illnesses)


def seed_of_name(modality: str) -> int:
    """Of the bootstrap of one modality. With one seed for all, samples of two modalities would be drawn by
    the same random numbers, and be no independent samples of the two sides of a retrieval."""
    return int(share(f"bootstrap:{modality}") * 2**32)


def load_data(recipe: Recipe, modality: str) -> Data:
    """Examples, labels, captions and bootstrap of one modality; no image is read."""
    specs = findings_of(modality)
    ids, illnesses = [s.id for s in specs], [s.id for s in specs if s.illness]
    val = Rows.of(examples(recipe, modality, "val"), ids)
    return Data(
        modality=modality,
        specs=specs,
        val=val,
        calib=Rows.of(examples(recipe, modality, "calib"), ids),
        pool=Rows.of(support_pool(examples(recipe, modality, "train"), ids), ids),
        captions=tuple(c for c in caption_pool(modality) if says_what_is(c, illnesses)),
        weights=resampled_weights(val.groups, recipe.evaluate.bootstrap, seed_of_name(modality)),
    )


def embed(
    recipe: Recipe,
    system: System,
    data: Mapping[str, Data],
    cache: Path,
    progress: Progress,
    shots: bool = True,
) -> dict[str, Embedded]:
    """Every modality as `system` sees it; without `shots` neither the support pool nor the captions (both are
    then empty), which zero-shot and retrieval between images do not need."""
    told = {}
    for modality, own in data.items():
        tower, text = system.images[modality], system.texts[modality]
        wanted = {"val": own.val, "calib": own.calib} | ({"pool": own.pool} if shots else {})
        images = {
            split: project(
                tower,
                trunk_features(
                    tower, recipe.modalities[modality], rows.found, cache, f"{modality}-{split}", progress
                ),
            )
            for split, rows in wanted.items()
        }
        anchors = {
            spec.id: np.stack([anchor(embed_texts(text, said)) for said in reversed(prompts(spec))])
            for spec in own.specs
        }
        nothing = np.zeros((0, recipe.dimension))
        captions = embed_texts(text, [c.text for c in own.captions]) if shots else nothing
        told[modality] = Embedded(
            images["val"], images["calib"], images.get("pool", nothing), anchors, captions
        )
    return told
