"""A text tower's own tokenizer, from the files beside its weights.

Another tokenizer gives other numbers to the same words, and nothing would tell but bad results: where the
files are missing, loading ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from dicom_node.errors import ConfigError

FAST = "tokenizer.json"
SLOW: tuple[tuple[str, ...], ...] = (("vocab.json", "merges.txt"), ("vocab.txt",))
"""Sets of files that transformers turns into a fast tokenizer: byte pairs, word pieces."""


@dataclass(frozen=True, eq=False)
class TextTokens:
    """Texts to `input_ids` and `attention_mask`, padded behind."""

    tokenizer: Tokenizer

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """(M, L) int64 each."""
        encodings = self.tokenizer.encode_batch(list(texts))
        return {
            "input_ids": torch.tensor([e.ids for e in encodings], dtype=torch.int64),
            "attention_mask": torch.tensor([e.attention_mask for e in encodings], dtype=torch.int64),
        }


@dataclass(frozen=True, eq=False)
class FixedLength:
    """The same for SigLIP, which sees every text at one length and looks at the padding too: the mask is 1
    everywhere."""

    tokens: TextTokens

    def __call__(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """(M, L) int64 each."""
        ids = self.tokens(texts)["input_ids"]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


Tokenize = TextTokens | FixedLength


def _read(folder: Path) -> Tokenizer:
    if (folder / FAST).is_file():
        try:
            return Tokenizer.from_file(str(folder / FAST))
        except Exception as error:  # the library raises no other kind
            raise ConfigError(f"{folder / FAST} is no tokenizer that can be read: {error}.") from error
    if any(all((folder / name).is_file() for name in names) for names in SLOW):
        if not (folder / "tokenizer_config.json").is_file():
            raise ConfigError(
                f"{folder} has a vocabulary, but no tokenizer_config.json: it says which tokenizer reads it. "
                "Take it from where the model comes from."
            )
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True).backend_tokenizer
        except (ValueError, OSError, AttributeError) as error:
            raise ConfigError(f"The tokenizer of {folder} cannot be read: {error}") from error
    wanted = " or ".join([FAST, *(" + ".join(names) for names in SLOW)])
    raise ConfigError(
        f"{folder} has no tokenizer: expected {wanted}. Take the files from where the model comes from; no "
        "other tokenizer is put in their place."
    )


def _padding(folder: Path, tokenizer: Tokenizer) -> tuple[int, str]:
    """Number and text of the padding token: from tokenizer.json, or from tokenizer_config.json."""
    own: dict[str, Any] | None = tokenizer.padding
    if own is not None:
        return int(own["pad_id"]), str(own["pad_token"])
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        told = json.loads(path.read_text("utf-8")).get("pad_token") if path.is_file() else None
        token = told.get("content") if isinstance(told, dict) else told
        number = None if token is None else tokenizer.token_to_id(token)
        if number is not None:
            return int(number), str(token)
    raise ConfigError(
        f"The tokenizer of {folder} names no padding token: write `pad_token` into its tokenizer_config.json."
    )


def load_tokens(folder: Path, max_tokens: int, *, fixed: bool = False, hidden: bool = False) -> Tokenize:
    """The tokenizer of a folder, which cuts at `max_tokens` (with its end token kept) and pads behind, to the
    longest of a batch or, where `fixed`, to `max_tokens`. Such padding is looked at, as SigLIP does, unless
    it is `hidden`.

    Raises ConfigError that names the files where there is none.
    """
    tokenizer = _read(folder)
    number, token = _padding(folder, tokenizer)
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding(pad_id=number, pad_token=token, length=max_tokens if fixed else None)
    tokens = TextTokens(tokenizer)
    return FixedLength(tokens) if fixed and not hidden else tokens


def vocabulary_fits(tokens: Tokenize, vocabulary: int, folder: Path) -> None:
    """Raise ConfigError where the tokenizer knows numbers that the embedding has no row for."""
    tokenizer = tokens.tokens.tokenizer if isinstance(tokens, FixedLength) else tokens.tokenizer
    known = tokenizer.get_vocab_size(with_added_tokens=True)
    if known > vocabulary:
        raise ConfigError(
            f"The tokenizer of {folder} has {known} tokens, the text encoder rows for {vocabulary}: they do "
            "not belong together. Take both from the same place."
        )
