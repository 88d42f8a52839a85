"""Ablations: bind and distil again from the same pretrained towers with one setting changed, and measure.

    weight    lambda, before the alignment loss
    rank      of the adapters; 0 trains projections alone
    student   layers of the text encoder that stands for all

Fewer steps than the recipe's, so that each run takes minutes: rows are compared with each other.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dicom_node.errors import ConfigError
from m3bind.checkpoint import load_checkpoint
from m3bind.config import Recipe
from m3bind.evaluate.cross_modal import cross_modal
from m3bind.evaluate.embedded import Data, embed, load_data
from m3bind.evaluate.groups import load_groups
from m3bind.evaluate.systems import BOUND, DISTILLED, System, stage_system
from m3bind.evaluate.zero_shot import zero_shot
from m3bind.loop import Progress

STUDENTS: Mapping[str, tuple[tuple[int, ...], int]] = {
    "2": ((0, 5), 1),
    "4": ((0, 1, 3, 5), 2),
    "6": ((0, 1, 2, 3, 4, 5), 3),
}
"""Layers of MiniLM that a student starts from, and how many of them stay frozen."""
RANKS = (0, 2, 8, 32)
FACTORS = (0.0, 0.25, 1.0, 4.0)
"""Of the recipe's alignment weight."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One run: what is varied, its value in words, and the recipe with it."""

    what: str
    value: str
    recipe: Recipe
    standard: bool
    """Whether it is the recipe's own value."""


def shortened(recipe: Recipe, bind_steps: int, distil_steps: int) -> Recipe:
    """The recipe with at most these steps, and no early stop."""
    bind = recipe.bind.model_copy(update={"steps": min(recipe.bind.steps, bind_steps), "stop": None})
    distil = recipe.distil.model_copy(update={"steps": min(recipe.distil.steps, distil_steps), "stop": None})
    return recipe.model_copy(update={"bind": bind, "distil": distil})


def variants(recipe: Recipe, what: str) -> list[Variant]:
    """Every run of one kind, the recipe's own value among them. Raises ConfigError for an unknown kind."""
    found = []
    if what == "weight":
        for value in sorted({recipe.bind.weight * f for f in FACTORS}):
            bind = recipe.bind.model_copy(update={"weight": value})
            changed = recipe.model_copy(update={"bind": bind})
            found.append(Variant(what, f"{value:g}", changed, value == recipe.bind.weight))
    elif what == "rank":
        for rank in sorted({*RANKS, recipe.bind.rank}):
            bind = recipe.bind.model_copy(update={"rank": rank, "alpha": rank or recipe.bind.alpha})
            changed = recipe if rank == recipe.bind.rank else recipe.model_copy(update={"bind": bind})
            found.append(Variant(what, str(rank), changed, rank == recipe.bind.rank))
    elif what == "student":
        own = str(len(recipe.text.student_layers))
        for name, (layers, frozen) in STUDENTS.items():
            text = recipe.text.model_copy(update={"student_layers": layers, "student_frozen": frozen})
            changed = recipe if name == own else recipe.model_copy(update={"text": text})
            found.append(Variant(what, f"{name} layers", changed, name == own))
    else:
        raise ConfigError(f"Nothing called {what!r} can be varied: weight, rank, student.")
    return found


def measure(recipe: Recipe, system: System, data: Mapping[str, Data], cache: Path) -> dict[str, Any]:
    """The figures that runs are compared by."""
    seen = embed(recipe, system, data, cache, _silent)
    fewest = recipe.evaluate.min_positives
    across = cross_modal(seen, data, load_groups())["centred"]["mean"]
    texts = {id(t): t for t in system.texts.values()}.values()
    return {
        "zero_shot": {m: zero_shot(d, seen[m], fewest)[0]["macro"] for m, d in data.items()},
        "cross_modal": across,
        "text_megabytes": sum(p.numel() for t in texts for p in t.parameters()) * 4 / 1e6,
    }


def _silent(_: str) -> None:
    """What is computed once is told of elsewhere."""


def _prepare(source: Path, folder: Path, shared: Path) -> None:
    """A folder whose pretrained towers, and features of their frozen parts, are those of `source`."""
    stages = folder / "stages"
    stages.mkdir(parents=True, exist_ok=True)
    for name, where in (("pretrain", source / "stages" / "pretrain"), ("features", shared)):
        link = stages / name
        if not link.is_symlink():
            link.symlink_to(where.resolve(), target_is_directory=True)


def run_one(
    recipe: Recipe, folder: Path, cache: Path, data: Mapping[str, Data], progress: Progress
) -> dict[str, Any]:
    """Bind, distil and measure in `folder`."""
    from m3bind.stages import bind, distil, site

    began = time.monotonic()
    here = site(recipe, folder, cache, progress)
    bind(here)
    distil(here)
    model = load_checkpoint(folder)
    distilled = System(DISTILLED, model.images, dict.fromkeys(recipe.modalities, model.text))
    bound = stage_system(recipe, BOUND, folder / "stages" / "bind")
    return {
        "bound": measure(recipe, bound, data, cache),
        "distilled": measure(recipe, distilled, data, cache),
        "seconds": round(time.monotonic() - began),
    }


def ablate(
    recipe: Recipe,
    source: Path,
    what: Sequence[str],
    out: Path,
    cache: Path,
    progress: Progress,
    command: str,
) -> dict[str, Any]:
    """Every variant of every kind from the towers in `source`/stages/pretrain; writes `out`/ablation.json."""
    if not (source / "stages" / "pretrain").is_dir():
        raise ConfigError(f"{source} has no pretrained towers: run `m3bind pretrain` first.")
    planned = [v for kind in what for v in variants(recipe, kind)]
    shared = out / "features"
    if not shared.is_dir():
        if (source / "stages" / "features").is_dir():
            shutil.copytree(source / "stages" / "features", shared)
        shared.mkdir(parents=True, exist_ok=True)
    data = {m: load_data(recipe, m) for m in recipe.modalities}
    done: dict[str, dict[str, Any]] = {}
    runs = []
    for variant in planned:
        name = "standard" if variant.standard else f"{variant.what}-{variant.value.replace(' ', '-')}"
        if name not in done:
            progress(f"{variant.what} {variant.value}")
            folder = out / name
            _prepare(source, folder, shared)
            done[name] = run_one(variant.recipe, folder, cache, data, progress)
        runs.append({"what": variant.what, "value": variant.value, "recipe": variant.standard, **done[name]})
    told = {
        "command": command,
        "steps": {"bind": recipe.bind.steps, "distil": recipe.distil.steps},
        "runs": runs,
    }
    (out / "ablation.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return told
