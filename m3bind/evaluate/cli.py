"""`m3bind evaluate` and `m3bind ablate`: figures, reports and plots; mounted by `m3bind/cli.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe, parse_recipe

if TYPE_CHECKING:
    from m3bind.config import Recipe

CacheOption = Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")]
DEFAULT_CACHE = Path("var/cache")
ABLATION = Path("ablation")
"""Folder of `m3bind ablate` in a checkpoint."""


def find(name: str, out: Path | None) -> tuple[Path, Recipe]:
    """The folder of a checkpoint and its recipe, by the folder itself or by a recipe's name or file."""
    folder = Path(name)
    if out is None and (folder / "config.json").is_file():
        from m3bind.checkpoint import read_config

        return folder, parse_recipe(read_config(folder)["recipe"], str(folder / "config.json"))
    recipe = load_recipe(name)
    return (out if out is not None else Path("var/checkpoints") / recipe.name), recipe


def _read(path: Path) -> dict[str, Any] | None:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else None


def evaluate(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder of a checkpoint, or name or file of the recipe that makes it.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the checkpoint [default: var/checkpoints/NAME].")
    ] = None,
    cache: CacheOption = DEFAULT_CACHE,
    report: Annotated[
        Path | None,
        typer.Option(help="Write EVALUATION.md here, with its plots in a folder `evaluation` beside it."),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Without, report what evaluation.json tells.")
    ] = True,
) -> None:
    """Measure the checkpoint on val, beside its stages, random projections and a supervised probe."""
    from m3bind.evaluate.markdown import summary

    work, recipe = find(checkpoint, out)
    if measure:
        from m3bind.evaluate.report import evaluate as measure_all
        from m3bind.loop import set_up

        set_up(recipe.seed, recipe.threads)
        where = f" --report {report}" if report is not None else ""
        measure_all(work, cache, typer.echo, f"m3bind evaluate {checkpoint}{where}")
    told = _read(work / "evaluation.json")
    if told is None:
        raise ConfigError(f"{work} has no evaluation.json: run `m3bind evaluate` without --no-measure.")
    for line in summary(told):
        typer.echo(line)
    if report is not None:
        _write(told, _read(work / ABLATION / "ablation.json"), report)


def _write(told: dict[str, Any], ablation: dict[str, Any] | None, report: Path) -> None:
    from m3bind.evaluate.markdown import PICTURES, page
    from m3bind.evaluate.plots import draw

    paths = draw(told, ablation, report / PICTURES)
    (report / "EVALUATION.md").write_text(page(told, ablation), "utf-8")
    for path in (report / "EVALUATION.md", *paths):
        typer.echo(str(path))


def ablate(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder of a checkpoint, or name or file of the recipe that makes it.")
    ],
    what: Annotated[
        str, typer.Option(help="What is varied: weight, rank, student, or several with commas between.")
    ] = "weight,rank,student",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs [default: `ablation` in the checkpoint].")
    ] = None,
    bind_steps: Annotated[int, typer.Option(min=1, help="Most steps of binding.")] = 40,
    distil_steps: Annotated[int, typer.Option(min=1, help="Most steps of distilling.")] = 60,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Bind and distil again with one setting changed, from the same pretrained towers, and compare."""
    from m3bind.evaluate.ablate import ablate as run_all
    from m3bind.evaluate.ablate import shortened
    from m3bind.evaluate.markdown import ablation_section
    from m3bind.evaluate.plots import ablation, save
    from m3bind.loop import set_up

    work, recipe = find(checkpoint, None)
    set_up(recipe.seed, recipe.threads)
    folder = out if out is not None else work / ABLATION
    command = f"m3bind ablate {checkpoint} --what {what}"
    short = shortened(recipe, bind_steps, distil_steps)
    told = run_all(short, work, what.split(","), folder, cache, typer.echo, command)
    (folder / "ABLATION.md").write_text("\n".join(ablation_section(told)), "utf-8")
    save(ablation(told), folder / "evaluation" / "ablation.png")
    typer.echo(str(folder / "ABLATION.md"))
