"""The whole run: pretrain, bind, distil, evaluate, in this order, from one recipe."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from m3bind.bind import bind
from m3bind.commit import commit_of_code
from m3bind.config import Recipe
from m3bind.distil import distil
from m3bind.evaluate.report import evaluate, lines
from m3bind.loop import Progress, set_up
from m3bind.pretrain import pretrain


def run_stage(
    stage: str,
    recipe: Recipe,
    work: Path,
    cache: Path,
    progress: Progress,
    modalities: Sequence[str] = (),
) -> None:
    """One of pretrain, bind, distil, evaluate; `modalities` limits pretrain to some."""
    set_up(recipe.seed, recipe.threads)
    began = time.monotonic()
    if stage == "pretrain":
        pretrain(recipe, work, cache, progress, modalities)
    elif stage == "bind":
        bind(recipe, work, cache, progress)
    elif stage == "distil":
        distil(recipe, work, cache, commit_of_code(), progress)
    else:
        for line in lines(evaluate(work, cache, progress)):
            progress(line)
    progress(f"{stage}: {time.monotonic() - began:.0f} s")


STAGES = ("pretrain", "bind", "distil", "evaluate")
