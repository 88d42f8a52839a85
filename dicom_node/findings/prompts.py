"""Prompts to anchors: what a finding is measured against in the shared space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry


@dataclass(frozen=True, slots=True, eq=False)
class Anchors:
    """One row per finding, F findings, D dimensions."""

    ids: tuple[str, ...]
    affirmed: NDArray[np.float32]
    """(F, D), unit norm: mean of the embedded prompts for the finding, normalised."""
    negated: NDArray[np.float32]
    """(F, D), unit norm: likewise, against it."""

    @property
    def directions(self) -> NDArray[np.float32]:
        """(F, D): a unit vector's product with a row is that finding's margin."""
        return self.affirmed - self.negated

    def only(self, ids: Sequence[str]) -> Anchors:
        """The rows of `ids`, in their order. Raises KeyError for an id that has no row."""
        rows = {identifier: row for row, identifier in enumerate(self.ids)}
        chosen = [rows[identifier] for identifier in ids]
        return Anchors(tuple(ids), self.affirmed[chosen], self.negated[chosen])


def prompt_texts(findings: Sequence[FindingEntry]) -> tuple[str, ...]:
    """Every text that must be embedded, each once, in order of first use."""
    texts: dict[str, None] = {}
    for entry in findings:
        texts |= dict.fromkeys((*entry.prompts.affirmed, *entry.prompts.negated))
    return tuple(texts)


def make_anchors(
    findings: Sequence[FindingEntry], texts: Sequence[str], embeddings: NDArray[np.float32]
) -> Anchors:
    """`embeddings` (len(texts), D), unit norm, of at least the `prompt_texts` of `findings`."""
    row = {text: index for index, text in enumerate(texts)}

    def anchor(prompts: Sequence[str]) -> NDArray[np.float32]:
        mean = embeddings[[row[prompt] for prompt in prompts]].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)

    empty = np.zeros((0, embeddings.shape[1]), dtype=np.float32)
    return Anchors(
        ids=tuple(entry.id for entry in findings),
        affirmed=np.stack([anchor(e.prompts.affirmed) for e in findings]) if findings else empty,
        negated=np.stack([anchor(e.prompts.negated) for e in findings]) if findings else empty,
    )
