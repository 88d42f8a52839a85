"""A fixed pool of texts, with what the frozen part of a text tower makes of them computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3bind.data.sides import device_of
from m3bind.towers.base import TextTowerBase

CHUNK = 64
"""Texts at a time where no gradient is needed."""


class TextBank:
    """Hidden states of M texts after the frozen layers, tokenised by the tower itself; only real tokens are
    kept, and a batch is padded to its longest text."""

    def __init__(self, texts: Sequence[str], tower: TextTowerBase) -> None:
        self.texts = tuple(texts)
        self._device = device_of(tower)
        words = tower.tokenize(self.texts)
        self._lengths = words["attention_mask"].sum(dim=1).cpu()  # (M,)
        self._order = torch.argsort(self._lengths, stable=True)
        rows: list[Tensor] = []
        with torch.no_grad():
            for chosen in torch.split(self._order, CHUNK):
                longest = int(self._lengths[chosen].max())
                cut = {k: v[chosen, :longest].to(self._device) for k, v in words.items()}
                rows.append(tower.hidden(**cut)[cut["attention_mask"].bool()].float().cpu())
        self._tokens = torch.cat(rows)  # (sum of lengths, width), the shortest text first
        ends = torch.cumsum(self._lengths[self._order], 0)
        self._starts = torch.empty_like(self._lengths)
        self._starts[self._order] = ends - self._lengths[self._order]

    def take(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Hidden states (n, l, width) and attention mask (n, l) of the texts at `indices`."""
        chosen = torch.from_numpy(indices)
        lengths, starts = self._lengths[chosen], self._starts[chosen]
        places = torch.arange(int(lengths.max()))
        mask = places[None, :] < lengths[:, None]
        hidden = self._tokens[torch.where(mask, starts[:, None] + places[None, :], 0)]
        return hidden.to(self._device), mask.to(self._device, torch.int64)

    def embed(self, tower: TextTowerBase, indices: NDArray[np.int64] | None = None) -> Tensor:
        """(n, D) embeddings by a tower that shares the frozen part, without gradient."""
        wanted = torch.arange(len(self.texts)) if indices is None else torch.from_numpy(indices)
        # Texts of one length stand together: padding is work for nothing.
        order = torch.argsort(self._lengths[wanted], stable=True)
        with torch.no_grad():
            parts = [
                tower.from_lower(*self.take(wanted[chosen].numpy())).float()
                for chosen in torch.split(order, CHUNK)
            ]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        return torch.cat(parts)[back.to(self._device)]


def frozen_digest(tower: TextTowerBase) -> str:
    """Of kind and weights of all that lies before `upper`."""
    digest = hashlib.sha256(type(tower).__qualname__.encode())
    for name, value in tower.state_dict().items():
        if not name.startswith(("upper.", "projection.")):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def banks_of(texts: Sequence[str], towers: Mapping[str, TextTowerBase]) -> dict[str, TextBank]:
    """A bank of the same texts for each tower. Towers with the same frozen weights that read the texts as
    the same tokens share one: five copies of MiniLM's lower layers need not do the same sums."""
    made: dict[str, TextBank] = {}
    banks: dict[str, TextBank] = {}
    for name, tower in towers.items():
        digest = hashlib.sha256(frozen_digest(tower).encode())
        for value in tower.tokenize(texts).values():
            digest.update(f"{tuple(value.shape)}".encode() + value.numpy().tobytes())
        key = digest.hexdigest()
        if key not in made:
            made[key] = TextBank(texts, tower)
        banks[name] = made[key]
    return banks
