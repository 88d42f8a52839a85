"""What early stop measures: held-out examples of one modality, by their captions or their prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from m3bind.data.captions import Caption, label_matrix, prompts, relation, stated
from m3bind.data.catalogue import illnesses_of
from m3bind.data.examples import Example
from m3bind.data.texts import TextBank
from m3bind.losses import contrastive
from m3bind.metrics import auc
from m3bind.towers.base import TextTowerBase

MIN_POSITIVES = 4
"""A finding with fewer examples with or without it says nothing of when to stop."""


class HeldOut:
    """Measures a text tower and embeddings of the held-out images of one modality against each other."""

    def __init__(self, found: Sequence[Example], captions: Sequence[Caption], text: TextTowerBase) -> None:
        modality = found[0].modality
        specs = illnesses_of(modality)
        labels = label_matrix([e.labels for e in found], [s.id for s in specs])
        self._sets = np.unique([e.dataset for e in found], return_inverse=True)[1]
        self._findings: list[tuple[list[int], list[int], np.ndarray[tuple[int], np.dtype[np.int8]]]] = []
        texts: list[str] = []
        for column, spec in zip(labels.T, specs, strict=True):
            if min((column == 1).sum(), (column == 0).sum()) < MIN_POSITIVES:
                continue
            sides = []
            for side in prompts(spec):
                sides.append(list(range(len(texts), len(texts) + len(side))))
                texts += side
            self._findings.append((sides[0], sides[1], column))
        self._prompts = TextBank(texts, text) if texts else None
        _, rows, states = stated(modality, [e.labels for e in found], captions)
        self._relation = torch.from_numpy(relation(rows, states))

    def macro_auc(self, images: Tensor, text: TextTowerBase) -> float:
        """Mean over findings of the zero-shot AUC, pairs within a data set only; 0.5 where no finding has
        enough examples. images (N, D) unit norm, in the order of the examples."""
        if self._prompts is None:
            return 0.5
        told = torch.nn.functional.normalize(self._prompts.embed(text), dim=-1).float()
        values = []
        for affirmed, negated, column in self._findings:
            anchors = [torch.nn.functional.normalize(told[i].mean(0), dim=0) for i in (affirmed, negated)]
            margin = (images.float() @ (anchors[0] - anchors[1])).cpu().numpy().astype(np.float64)
            known = column >= 0
            values.append(auc(margin[known], column[known].astype(np.int64), self._sets[known]))
        return float(np.nanmean(values))

    def loss(self, images: Tensor, captions: Tensor, scale: float) -> float:
        """The contrastive loss over all of them; captions (M, D) in the order that was handed in."""
        told = contrastive(images.float(), captions.float(), self._relation.to(images.device), scale)
        return float(told)


def rows_of(count: int, features: Callable[[np.ndarray[tuple[int], np.dtype[np.int64]]], Tensor]) -> Tensor:
    """(N, C) of all examples, without gradient."""
    with torch.no_grad():
        return torch.cat([features(np.arange(i, min(i + 64, count))).float() for i in range(0, count, 64)])
