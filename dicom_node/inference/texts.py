"""Texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from dicom_node.bundle.manifest import Text
from dicom_node.errors import BundleFormatError, InferenceError
from dicom_node.inference.protocol import EMBEDDING, MASK_INPUT, TOKEN_INPUT, Runner, as_floats

MAX_TEXTS = 32
"""Texts in one batch."""


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """The bundle's tokenizer, cutting texts at `max_tokens` and padding to the longest of a batch.

    Raises BundleFormatError where the file is no tokenizer.
    """
    try:
        # The library raises plain Exception for whatever it cannot parse.
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise BundleFormatError(f"{path.name} is not a tokenizer: {error}.") from error
    padding = tokenizer.padding or {}
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(pad_id=padding.get("pad_id", 0), pad_token=padding.get("pad_token", "[PAD]"))
    return tokenizer


class TextEncoder:
    """The one text encoder of all modalities. Safe to call from several threads."""

    def __init__(self, runner: Runner, tokenizer: Tokenizer, text: Text) -> None:
        self._runner = runner
        self._tokenizer = tokenizer
        self._lowercase = text.lowercase

    def tokenize(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """`input_ids` and `attention_mask`, both (N, L) int64, L the longest of these texts."""
        prepared = [text.lower() for text in texts] if self._lowercase else list(texts)
        encoded = self._tokenizer.encode_batch(prepared)
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        return ids, np.array([e.attention_mask for e in encoded], dtype=np.int64)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) unit-norm, one row per text. Raises InferenceError for no text or an answer not finite."""
        if not texts:
            raise InferenceError("No text to embed.")
        rows = []
        for start in range(0, len(texts), MAX_TEXTS):
            ids, mask = self.tokenize(texts[start : start + MAX_TEXTS])
            rows.append(as_floats(self._runner.run({TOKEN_INPUT: ids, MASK_INPUT: mask})[EMBEDDING]))
        embeddings = np.concatenate(rows)
        if not np.isfinite(embeddings).all():
            raise InferenceError("The text encoder answered with numbers that are not finite.")
        return embeddings
