"""Which images and which texts meet in one step.

A batch holds images of one data set only (otherwise "pneumonia" would partly mean "looks like Kermany's"),
half of them drawn so that rare findings are seen. Every image brings one true caption, and one that
contradicts it in the same findings where there is such a one: hard negatives for negation. Where the pool
has sentences that every modality shares (`groups.py`), a part of the images brings one of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m3bind.data.captions import Caption, relation, stated
from m3bind.data.examples import Example


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Indices into the examples and into the caption pool, and how they relate."""

    images: NDArray[np.int64]
    texts: NDArray[np.int64]
    relation: NDArray[np.int8]


class Sampler:
    """Draws batches of one modality. It keeps no state: the generator that is handed in decides a batch.

    Findings are drawn in proportion to their number of positives to the power `balance`: 0 shows the rarest
    as often as the commonest. `common`: the part of images that bring a sentence of a group, of those that
    have one.
    """

    def __init__(
        self, found: Sequence[Example], pool: Sequence[Caption], balance: float = 0.0, common: float = 0.0
    ) -> None:
        findings, labels, states = stated(found[0].modality, [e.labels for e in found], pool)
        self._labels = labels[:, :findings]
        self._relation = relation(labels, states)
        self._of_group = (states[:, findings:] >= 0).any(axis=1)  # (M,)
        self._common = common
        datasets = np.asarray([e.dataset for e in found])
        self._members = [np.flatnonzero(datasets == name) for name in sorted(set(datasets.tolist()))]
        sizes = np.sqrt([len(m) for m in self._members])
        self._chance = sizes / sizes.sum()
        shares = np.maximum((labels == 1).sum(axis=0), 1.0) ** balance
        self._share = shares[:findings] / shares[:findings].sum()
        # Each statement (a set of findings with their values) is as likely as any other, however many
        # sentences say it; sentences with a finding present count double. With `balance`, what affirms is
        # drawn as its rarest finding is, and what only denies as its commonest.
        which = np.unique(states, axis=0, return_inverse=True)[1]
        which = which.reshape(-1)
        about, affirms = states >= 0, (states == 1).any(axis=1)
        shares = shares / shares[:findings].sum()
        rarest = np.where(about, shares, np.inf).min(axis=1)
        commonest = np.where(about, shares, 0.0).max(axis=1)
        self._weight = (1.0 + affirms) / np.bincount(which)[which] * np.where(affirms, rarest, commonest)
        self._topic = np.unique(about, axis=0, return_inverse=True)[1].reshape(-1)  # (M,)

    def _images(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        members = self._members[random.choice(len(self._members), p=self._chance)]
        labels = self._labels[members]
        chosen = list(random.choice(members, count - count // 2))
        for finding in random.choice(labels.shape[1], count // 2, p=self._share):
            wanted = members[labels[:, finding] == random.integers(0, 2)]
            chosen.append(random.choice(wanted if len(wanted) else members))
        return np.asarray(chosen, dtype=np.int64)

    def _draw(self, allowed: NDArray[np.bool_], random: np.random.Generator) -> int:
        weight = self._weight * allowed
        return int(random.choice(len(weight), p=weight / weight.sum()))

    def _wanted(self, true: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
        """(M,) of the captions that are true: those of groups, or all others."""
        if not self._of_group.any():
            return true
        kind = true & (self._of_group == (random.random() < self._common))
        return kind if kind.any() else true

    def batch(self, count: int, random: np.random.Generator) -> Batch:
        """`count` images, at most twice as many texts."""
        images = self._images(count, random)
        texts: list[int] = []
        for image in images:
            row = self._relation[image]
            if not (row == 1).any():
                continue
            true = self._draw(self._wanted(row == 1, random), random)
            texts.append(true)
            false = (row == 0) & (self._topic == self._topic[true])
            if false.any():
                texts.append(self._draw(false, random))
        unique = np.unique(np.asarray(texts, dtype=np.int64))
        return Batch(images, unique, self._relation[np.ix_(images, unique)])
