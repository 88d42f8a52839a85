"""The losses: plain functions of tensors. The naive forms they are tested against stand in the tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def _towards_true(logits: Tensor, relation: Tensor) -> Tensor:
    """Mean over rows of the cross entropy between softmax(logits) and the even spread over true columns.

    Columns of unknown relation (< 0) are left out of the softmax. Rows that have no true or no false column
    teach nothing and are skipped; 0 where all are.
    """
    true = relation == 1
    usable = true.any(dim=1) & (relation == 0).any(dim=1)
    if not bool(usable.any()):
        return logits.sum() * 0.0
    logits, true, known = logits[usable], true[usable], relation[usable] >= 0
    log_share = torch.log_softmax(logits.masked_fill(~known, float("-inf")), dim=1)
    target = true / true.sum(dim=1, keepdim=True)
    return -(target * log_share.masked_fill(~true, 0.0)).sum(dim=1).mean()


def contrastive(images: Tensor, texts: Tensor, relation: Tensor, scale: Tensor | float) -> Tensor:
    """Symmetric contrastive loss (CLIP, arXiv 2103.00020) with many positives (SupCon, arXiv 2004.11362).

    images (N, D) and texts (M, D) have unit norm; relation (N, M) is 1 where the text is true of the image,
    0 where false, -1 where not known; `scale` is the inverse temperature. With N = M and the identity as
    relation this is CLIP's loss.
    """
    logits = scale * images @ texts.T
    return (_towards_true(logits, relation) + _towards_true(logits.T, relation.T)) / 2


def alignment(embeddings: Sequence[Tensor]) -> Tensor:
    """Mean over all pairs of towers of the squared distance between their embeddings of the same texts.

    Each (N, D). M3Bind (arXiv 2506.18072), stage 1. Computed in linear time: over K towers the sum over pairs
    of |a - b|^2 is K times the sum of squared distances to their mean. Mean over texts, sum over dimensions.
    """
    stacked = torch.stack(list(embeddings))  # (K, N, D)
    towers = stacked.shape[0]
    if towers < 2:
        return stacked.sum() * 0.0
    spread = (stacked - stacked.mean(dim=0, keepdim=True)).pow(2).sum(dim=(0, 2))  # (N,)
    return (towers * spread / (towers * (towers - 1) / 2)).mean()


def imitation(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared distance of the student's embeddings (N, D) to what it is to reproduce."""
    return (student - teacher).pow(2).sum(dim=1).mean()
