"""`m3bind`: train, bind, distil and measure, from a recipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dicom_node.errors import M3BindError
from m3bind.config import load_recipe, shipped_recipes
from m3bind.stages import STAGES, run_stage

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe that ships, or path to a TOML file.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the checkpoint [default: var/checkpoints/RECIPE].")
]
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")]
DEFAULT_CACHE = Path("var/cache")


def _do(
    stages: tuple[str, ...], name: str, out: Path | None, cache: Path, modalities: Sequence[str] = ()
) -> None:
    recipe = load_recipe(name)
    work = out if out is not None else Path("var/checkpoints") / recipe.name
    for stage in stages:
        run_stage(stage, recipe, work, cache, lambda line: typer.echo(line), modalities)
    typer.echo(str(work))


@app.command()
def run(recipe: RecipeArgument, out: OutOption = None, cache: CacheOption = DEFAULT_CACHE) -> None:
    """All stages: from public data to an evaluated checkpoint."""
    _do(STAGES, recipe, out, cache)


@app.command()
def pretrain(
    recipe: RecipeArgument,
    out: OutOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    modality: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
) -> None:
    """One CLIP per modality."""
    _do(("pretrain",), recipe, out, cache, modality or ())


@app.command()
def bind(recipe: RecipeArgument, out: OutOption = None, cache: CacheOption = DEFAULT_CACHE) -> None:
    """Stage 1: draw the text towers into one space."""
    _do(("bind",), recipe, out, cache)


@app.command()
def distil(recipe: RecipeArgument, out: OutOption = None, cache: CacheOption = DEFAULT_CACHE) -> None:
    """Stage 2: one text encoder for all modalities; writes the checkpoint."""
    _do(("distil",), recipe, out, cache)


@app.command()
def evaluate(recipe: RecipeArgument, out: OutOption = None, cache: CacheOption = DEFAULT_CACHE) -> None:
    """Measure the checkpoint on val, beside its stages and a random encoder."""
    _do(("evaluate",), recipe, out, cache)


@app.command()
def recipes() -> None:
    """List the recipes that ship with this package."""
    for name in shipped_recipes():
        typer.echo(name)


def main() -> None:
    """Entry point. An error of ours is one line on stderr and exit code 1."""
    try:
        app()
    except M3BindError as error:
        typer.echo(f"m3bind: {error}", err=True)
        sys.exit(1)
