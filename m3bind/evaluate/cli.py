"""`m3bind evaluate` and `m3bind ablate`: figures, reports and plots; mounted by `m3bind/cli.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m3bind.config import load_recipe


def evaluate(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships, or path to a TOML file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the checkpoint [default: var/checkpoints/NAME].")
    ] = None,
    cache: Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")] = Path(
        "var/cache"
    ),
) -> None:
    """Measure the checkpoint on val, beside its stages and a random encoder."""
    from m3bind.evaluate.report import evaluate as measure
    from m3bind.loop import set_up

    told = load_recipe(recipe)
    work = out if out is not None else Path("var/checkpoints") / told.name
    set_up(told.seed, told.threads)
    measure(work, cache, typer.echo)
