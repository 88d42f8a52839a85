"""The command `m3bind-export`: from a checkpoint to a bundle that a node can serve."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dicom_node.errors import M3BindError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Turn an M3Bind checkpoint into a sealed bundle."
)
console = Console()


@app.command()
def build(
    checkpoint: Annotated[Path, typer.Argument(help="Folder that `m3bind run` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads for the encoders.")] = 2,
    version: Annotated[str | None, typer.Option(help="Version of the bundle; else the recipe's.")] = None,
    note: Annotated[list[str] | None, typer.Option(help="For the model card; may be repeated.")] = None,
    max_mb: Annotated[float, typer.Option(help="Refuse to make a larger bundle.")] = 40.0,
) -> None:
    """Export, quantise, calibrate, measure and seal. Needs the training data (M3BIND_DATA)."""
    from export.build import Options
    from export.build import build as make

    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.1f} s[/dim]  {line}", highlight=False)

    options = Options(threads, max_mb, version=version, notes=tuple(note or ()))
    made = make(checkpoint, out, say, options)
    _print_verified(made)


@app.command()
def verify(bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")]) -> None:
    """Check every digest and rule of the format, and ask every encoder."""
    _print_verified(bundle)


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    after: Annotated[Path, typer.Argument(help="Folder of the bundle to compare with it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Tell what changed between two bundles: files, settings, findings, thresholds, figures side by side."""
    from dicom_node.bundle.store import open_bundle
    from export.diff import difference
    from export.diff_table import difference_lines

    told = difference(open_bundle(before), open_bundle(after))
    if as_json:
        typer.echo(json.dumps(told.to_json(), indent=1, ensure_ascii=False))
        return
    for line in difference_lines(told):
        typer.echo(line)


@app.command()
def tensorrt(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    out: Annotated[Path, typer.Option(help="Folder of the engines; must be new or empty.")],
) -> None:
    """Build fp16 engines of TensorRT for this machine's GPU, so that a node does not when it starts."""
    from dicom_node.bundle.store import open_bundle
    from export.tensorrt import build_engines

    for modality, cosine in build_engines(open_bundle(bundle), out, typer.echo).items():
        typer.echo(f"{modality}: cosine to the sealed outputs {cosine:.6f}")
    typer.echo(f'node.toml: [inference] tensorrt_engines = "{out}"')


@app.command()
def triton(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    out: Annotated[Path, typer.Option(help="Folder of the model repository; must be new or empty.")],
    gpus: Annotated[int, typer.Option(min=0, help="Instances of each model on every GPU; 0: the CPU.")] = 0,
) -> None:
    """Write a bundle as a model repository with dynamic batching for Triton or KServe."""
    from dicom_node.bundle.store import open_bundle
    from export.triton import write_repository

    for model in write_repository(open_bundle(bundle), out, gpus):
        typer.echo(f"{model.name}: {', '.join(t.name for t in (*model.inputs, *model.outputs))}")


def _print_verified(folder: Path) -> None:
    from export.verify import verify as check

    verified = check(folder)
    identity = verified.bundle.identity
    table = Table(title=f"{identity.name} {identity.version}  {identity.digest[:12]}")
    table.add_column("graph")
    table.add_column("self-test cosine", justify="right")
    table.add_column("findings", justify="right")
    for graph, cosine in verified.lowest_cosine.items():
        findings = len(verified.bundle.findings_of(graph))
        table.add_row(graph, f"{cosine:.6f}", str(findings) if findings else "")
    console.print(table)


def main() -> None:
    """Entry point: errors of this project become one line and exit code 1."""
    try:
        app()
    except M3BindError as error:
        Console(stderr=True).print(
            f"[red]{type(error).__name__}[/red]: {escape(str(error))}", highlight=False
        )
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
