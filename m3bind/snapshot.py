"""Snapshots: what a stage needs to go on after it was killed, in one safetensors file.

Tensors (weights, the optimiser's moments, the best weights so far) and facts (step, best value, seconds;
JSON in the file's metadata) are replaced together by one rename: after kill -9 there is the old snapshot or
the new one, never a mixture. Generators need no state: the chance of a step is a function of the seed and
the number of the step (see loop.py). Nothing is ever pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from m3bind.durable import write_durably


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A stage after `step` steps."""

    step: int
    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Keeper:
    """Keeps the snapshot and the log of one stage (of one modality)."""

    path: Path
    """Of the snapshot."""
    log: Path
    """Folder of the losses."""
    digest: str
    """Of all that decides the stage: a snapshot of another digest is not gone on with."""
    every: int
    """Steps from one snapshot to the next."""
    tensorboard: bool = True
    """Whether curves for TensorBoard are written beside the CSV."""

    def write(self, snapshot: Snapshot) -> None:
        """Replace the snapshot on disk."""
        told = {"digest": self.digest, "step": snapshot.step, "facts": dict(snapshot.facts)}
        tensors = {k: v.detach().cpu().contiguous() for k, v in snapshot.tensors.items()}
        write_durably(self.path, save(tensors, {"m3bind": json.dumps(told)}))

    def read(self) -> Snapshot | None:
        """The last snapshot; None where there is none of this digest."""
        if not self.path.is_file():
            return None
        with safe_open(self.path, framework="pt") as file:
            told = json.loads((file.metadata() or {}).get("m3bind", "{}"))
            if told.get("digest") != self.digest:
                return None
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 # no mapping
        return Snapshot(told["step"], tensors, told["facts"])

    def clear(self) -> None:
        """Forget: the stage is done, or is to begin anew."""
        self.path.unlink(missing_ok=True)
