"""A fixed pool of texts, with what the frozen part of a text tower makes of them computed once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from m3bind.towers.text import TextTower, tokenize


class TextBank:
    """Hidden states (M, L, 384) of M texts after the frozen layers; a batch is cut to its longest text."""

    def __init__(self, texts: Sequence[str], tower: TextTower, tokenizer: Tokenizer) -> None:
        self.texts = tuple(texts)
        ids, self._mask = tokenize(tokenizer, self.texts)
        with torch.inference_mode():
            parts = [
                tower.hidden(ids[i : i + 64], self._mask[i : i + 64]) for i in range(0, len(self.texts), 64)
            ]
        self._hidden = torch.cat(parts).clone()

    def take(self, indices: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Hidden states (n, l, 384) and attention mask (n, l) of the texts at `indices`."""
        chosen = torch.from_numpy(indices)
        mask = self._mask[chosen]
        length = int(mask.sum(dim=1).max())
        return self._hidden[chosen, :length], mask[:, :length]

    def embed(self, tower: TextTower, indices: NDArray[np.int64] | None = None) -> Tensor:
        """(n, D) embeddings by a tower that shares the frozen part, without gradient."""
        wanted = np.arange(len(self.texts)) if indices is None else indices
        with torch.no_grad():
            parts = [tower.from_lower(*self.take(wanted[i : i + 64])) for i in range(0, len(wanted), 64)]
        return torch.cat(parts)
