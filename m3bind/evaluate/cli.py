"""`m3bind evaluate` and `m3bind ablate`: figures, reports and plots; mounted by `m3bind/cli.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe, parse_recipe
from m3bind.evaluate.spelling import spelled

if TYPE_CHECKING:
    from m3bind.config import Recipe

CacheOption = Annotated[Path, typer.Option("--cache", help="Folder for what is computed once.")]
DEFAULT_CACHE = Path("var/cache")
ABLATION = Path("ablation")
"""Folder of `m3bind ablate` in a checkpoint."""
BIND_STEPS, DISTIL_STEPS = 30, 10
"""Of each row of an ablation: all rows within twelve minutes of the processor."""


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


def _figures(work: Path) -> dict[str, Any]:
    """evaluation.json. Raises ConfigError where there is none, or of another format."""
    from m3bind.evaluate.report import FORMAT

    told = _read(work / "evaluation.json")
    if told is None:
        raise ConfigError(f"{work} has no evaluation.json: run `m3bind evaluate` without --no-measure.")
    if told.get("format") != FORMAT:
        raise ConfigError(
            f"{work / 'evaluation.json'} has format {told.get('format')!r}, this code reads {FORMAT}: "
            "run `m3bind evaluate` without --no-measure."
        )
    return told


def _ablation(work: Path, told: dict[str, Any]) -> dict[str, Any] | None:
    """What `m3bind ablate` wrote, where it is of the same weights as the figures; what is not is told."""
    from m3bind.evaluate.ablate import FORMAT

    found = _read(work / ABLATION / "ablation.json")
    if found is None:
        return None
    asked = {"format": FORMAT, "recipe": told["recipe"], "commit": told["commit"]}
    if any(found.get(key) != value for key, value in asked.items()):
        typer.echo("ablation.json is of another checkpoint and is left out: run `m3bind ablate` again.")
        return None
    return found


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
        typer.Option(
            help="Write EVALUATION.md here; its plots, and all tables, in a folder `evaluation` beside it."
        ),
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Without, report what evaluation.json tells.")
    ] = True,
) -> None:
    """Measure the checkpoint on val, beside its stages, random encoders and a supervised probe."""
    from m3bind.evaluate.markdown import summary

    work, recipe = find(checkpoint, out)
    if measure:
        from m3bind.evaluate.report import evaluate as measure_all
        from m3bind.loop import set_up

        set_up(recipe.seed, recipe.threads)
        words = ["m3bind", "evaluate", checkpoint]
        words += ["--out", str(out)] if out is not None else []
        words += ["--report", str(report)] if report is not None else []
        measure_all(work, cache, typer.echo, spelled(words))
    told = _figures(work)
    for line in summary(told):
        typer.echo(line)
    if report is not None:
        for path in write(told, _ablation(work, told), report):
            typer.echo(str(path))


def write(told: dict[str, Any], ablation: dict[str, Any] | None, report: Path) -> list[Path]:
    """The page, the tables behind it and the plots; which files were written."""
    from m3bind.evaluate.details import DETAILS, details
    from m3bind.evaluate.markdown import PICTURES, page
    from m3bind.evaluate.plots import draw

    paths = draw(told, ablation, report / PICTURES)
    pages = {report / "EVALUATION.md": page(told, ablation), report / PICTURES / DETAILS: details(told)}
    for path, text in pages.items():
        path.write_text(text, "utf-8")
    return [*pages, *paths]


def ablate(
    checkpoint: Annotated[
        str, typer.Argument(help="Folder of a checkpoint, or name or file of the recipe that makes it.")
    ],
    what: Annotated[
        str, typer.Option(help="What is varied: weight, rank, student, or several with commas between.")
    ] = "weight,rank,student",
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of the rows [default: `ablation` in the checkpoint].")
    ] = None,
    bind_steps: Annotated[int, typer.Option(min=1, help="Most steps of binding.")] = BIND_STEPS,
    distil_steps: Annotated[int, typer.Option(min=1, help="Most steps of distilling.")] = DISTIL_STEPS,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes at the same time [default: by cores].")
    ] = None,
    cache: CacheOption = DEFAULT_CACHE,
) -> None:
    """Bind and distil again with one setting changed, from the same pretrained towers, and compare.

    A row that is done stands: the same command goes on where it was stopped.
    """
    from m3bind.evaluate.ablate import ablate as run_all
    from m3bind.evaluate.ablate import shortened
    from m3bind.evaluate.ablation_page import section
    from m3bind.evaluate.plots import ablation, save
    from m3bind.jobs import default_jobs
    from m3bind.loop import set_up

    work, recipe = find(checkpoint, None)
    set_up(recipe.seed, recipe.threads)
    folder = out if out is not None else work / ABLATION
    words = ["m3bind", "ablate", checkpoint, "--what", what]
    words += ["--bind-steps", str(bind_steps), "--distil-steps", str(distil_steps)]
    told = run_all(
        shortened(recipe, bind_steps, distil_steps),
        work,
        what.split(","),
        folder,
        cache,
        typer.echo,
        spelled(words),
        jobs or default_jobs(recipe),
    )
    (folder / "ABLATION.md").write_text("\n".join(section(told, "ablation.png")), "utf-8")
    save(ablation(told), folder / "ablation.png")
    typer.echo(str(folder / "ABLATION.md"))
