"""What a scope is fitted on: an encoder's features of its own data, as they are and as another hospital would
have made them, and of strangers. No image of unclear licence is among them, and nothing of `val`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import InputError
from dicom_node.inference.batching import MAX_BATCH
from dicom_node.inference.protocol import IMAGE_INPUT, SIGNATURE, Runner, as_floats
from dicom_node.pixels.ops import Patch, compile_operations
from export.encode import Say, spread
from export.other_machines import other_machine
from export.strangers import Stranger, strange_images, strange_records
from m3bind.config import Recipe
from m3bind.data.examples import Example, Split, examples

Floats = NDArray[np.float32]

SEED = 20261122
OWN, ALTERED = 800, 400
"""Of the training split as they are and altered; of the calibration split at most the latter of each."""
OF_ANOTHER = 300
"""Examples of each other modality that strangers are drawn from."""
OF_EACH_KIND = 110


@dataclass(frozen=True, slots=True, eq=False)
class ScopeData:
    """Features (N, R) by part; `kinds` is of the strangers."""

    own: Floats
    calib: Floats
    strangers: Floats
    kinds: tuple[str, ...]


def scope_data(
    recipe: Recipe, modality: str, encoder: Encoder, runner: Runner, say: Say, most: int | None = None
) -> ScopeData:
    """Send everything through a graph whose output `signature` still is the features.

    `most` examples of a split and strangers of a kind, None for the numbers above.
    """
    random = np.random.default_rng(SEED)

    def both(split: Split, plain: int) -> Floats:
        found = spread(examples(recipe, modality, split), min(plain, most or plain))
        fewer = spread(found, ALTERED)
        say(f"Scope of {modality}: {len(found)} of {split}, {len(fewer)} of them altered")
        as_is = (example.load() for example in found)
        altered = (other_machine(example.load(), encoder.reader, random) for example in fewer)
        return np.concatenate([features(p, encoder, runner)[0] for p in (as_is, altered)])

    own, calib = both("train", OWN), both("calib", ALTERED)
    each = min(OF_EACH_KIND, most or OF_EACH_KIND)
    others = [
        example
        for other in recipe.modalities
        if other != modality
        for example in spread(examples(recipe, other, "train"), OF_ANOTHER)
    ]
    made = strangers_to(encoder.reader, examples(recipe, modality, "train"), others, each, random)
    say(f"Scope of {modality}: {len(made)} strangers")
    seen, kept = features((one.patch for one in made), encoder, runner)
    return ScopeData(own, calib, seen, tuple(made[index].kind for index in kept))


def strangers_to(
    reader: str, own: Sequence[Example], others: Sequence[Example], each: int, random: np.random.Generator
) -> list[Stranger]:
    """`each` strangers of every kind to an encoder of `own` examples; `others` are of other modalities."""
    if reader == "ecg":
        return strange_records(own, each, random)
    return strange_images(reader, own, others, each, random)


def features(patches: Iterable[Patch], encoder: Encoder, runner: Runner) -> tuple[Floats, list[int]]:
    """(N, R) what the runner's output `signature` holds of each patch, and which patches those are: what
    preprocessing itself refuses never reaches the encoder."""
    step = compile_operations(encoder.preprocess)
    kept: list[int] = []

    def prepared() -> Iterator[Floats]:
        for index, patch in enumerate(patches):
            try:
                values = step(patch).values
            except InputError:
                continue
            kept.append(index)
            yield values

    rows = [as_floats(runner.run({IMAGE_INPUT: batch})[SIGNATURE]) for batch in _batched(prepared())]
    return np.concatenate(rows), kept


def _batched(samples: Iterator[Floats]) -> Iterator[Floats]:
    waiting: list[Floats] = []
    for sample in samples:
        waiting.append(sample)
        if len(waiting) == MAX_BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)
