"""Examples: one input with its labels, its group and its split.

Splits: `train` and `calib` are the training part of each data set, divided by group (15 % to `calib`, for
calibration and thresholds); `val` is the held-out part, used for measuring only. No group is in two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from m3bind.config import Recipe
from m3bind.data.captions import caption_pool, label_matrix, relation, state_matrix
from m3bind.data.catalogue import FindingSpec, Labels, findings_of, labels_of, load_findings
from m3bind.data.readers import DATASET_READERS, READERS
from m3bind.data.sources import DATASETS, MEASURE_ONLY, Row, data_root, training_part

Split = Literal["train", "calib", "val"]


@dataclass(frozen=True, slots=True)
class Example:
    """One image or record."""

    modality: str
    dataset: str
    path: Path
    reader: str
    split: Split
    group: str
    labels: Labels

    def load(self) -> Patch:
        """What the node's reader would hand to the first operation of the bundle's preprocessing."""
        read = DATASET_READERS.get(self.dataset) or READERS[self.reader]
        return read(self.path)

    def captions(self) -> tuple[str, ...]:
        """Every caption that is true of it."""
        ids = [f.id for f in findings_of(self.modality)]
        pool = caption_pool(self.modality)
        true = relation(label_matrix([self.labels], ids), state_matrix(pool, ids))[0] == 1
        return tuple(c.text for c, t in zip(pool, true, strict=True) if t)


def _split(row: Row) -> Split:
    if row.split != "train":
        return "val"
    return "train" if training_part(row) else "calib"


def _example(row: Row, modality: str, reader: str, specs: tuple[FindingSpec, ...]) -> Example:
    labels = labels_of(specs, row.dataset, row.columns)
    return Example(modality, row.dataset, row.path, reader, _split(row), row.group, labels)


def examples(recipe: Recipe, modality: str, split: Split | None = None) -> Sequence[Example]:
    """Examples of one modality and split (all splits where None), in a fixed order.

    Raises ConfigError for a modality that the recipe lacks or of which no finding is known, or a data set
    that may not be trained on or labels nothing of the modality.
    """
    part = recipe.modalities.get(modality)
    if part is None:
        raise ConfigError(f"The recipe has no modality {modality!r}, only {', '.join(recipe.modalities)}.")
    specs = findings_of(modality)
    if not specs:
        known = dict.fromkeys(f.modality for f in load_findings())
        raise ConfigError(
            f"No finding of {modality!r} is known, only of {', '.join(known)}: call the modality so, or "
            "describe its findings in m3bind/data/findings and its sentences in captions.toml."
        )
    root = data_root()
    found: list[Example] = []
    for dataset in part.datasets:
        if dataset not in DATASETS or dataset in MEASURE_ONLY:
            raise ConfigError(f"{dataset!r} is no data set to train on.")
        if not any(dataset in spec.rules for spec in specs):
            raise ConfigError(f"{dataset!r} labels no finding of {modality!r}: take a data set of its kind.")
        found += [_example(row, modality, part.reader, specs) for row in DATASETS[dataset](root)]
    return [e for e in found if split is None or e.split == split]


def duplicates(held_out: Sequence[Example], known: Sequence[Example]) -> tuple[tuple[str, str], ...]:
    """File names of `held_out` whose very bytes are also in `known`, each with the name there."""
    names = {file_digest(example.path): example.path.name for example in known}
    pairs = ((example.path.name, names.get(file_digest(example.path))) for example in held_out)
    return tuple((name, other) for name, other in pairs if other is not None)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, and of the recording's where a header (.hea) stands for one (.dat)."""
    digest = hashlib.sha256(path.read_bytes())
    recording = path.with_suffix(".dat")
    if path.suffix == ".hea" and recording.is_file():
        digest.update(recording.read_bytes())
    return digest.hexdigest()


STRANGERS = {"xray": "not_chest", "ct": "not_chest_ct"}


def out_of_scope_examples(recipe: Recipe, modality: str) -> Sequence[Example]:
    """Images of the same machine that are not of the chest: to measure refusals with, never to train on.
    Empty for a modality that has none."""
    dataset = STRANGERS.get(modality)
    if dataset is None or modality not in recipe.modalities:
        return []
    reader = recipe.modalities[modality].reader
    return [_example(row, modality, reader, ()) for row in DATASETS[dataset](data_root())]
