"""`m3bind crossval`: out-of-fold figures of a waveform modality; mounted by `m3bind/cli.py`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m3bind.config import load_recipe


def crossval(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships, or path to a TOML file.")],
    modality: Annotated[str, typer.Argument(help="A modality of waveforms.")] = "ecg",
    dataset: Annotated[str, typer.Option(help="The data set whose groups are dealt to the folds.")] = "ludb",
    folds: Annotated[int, typer.Option(min=2, help="How many.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the deal.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the figures here too, as JSON.")] = None,
) -> None:
    """Train the tower anew without each fold; tell every finding's AUC: pairs within a fold, of all folds."""
    from m3bind.crossval import cross_validate, facts
    from m3bind.loop import Workplace, set_up

    chosen = load_recipe(recipe)
    set_up(chosen.seed, chosen.threads)
    where = Workplace(typer.echo, precision=chosen.machine.precision)
    told = cross_validate(chosen, modality, dataset, folds, where, seed)
    for name, figure in told.items():
        interval = f"{figure.low:.3f}-{figure.high:.3f}"
        typer.echo(f"{name:42} {figure.value:.3f} ({interval})  {figure.positives} of {figure.n}")
    if out is not None:
        figures = {name: asdict(figure) for name, figure in told.items()}
        about = facts(chosen, modality, dataset, folds, seed)
        out.write_text(json.dumps({**about, "findings": figures}, indent=2) + "\n", "utf-8")
