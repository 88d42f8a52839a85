"""`dicom-node`: the administrator's command line.

Heavy parts are imported by the command that needs them, so that `--help` and `echo` answer at once.
Exit status: 0 done, 1 something failed and was told, 2 the call itself was wrong.
"""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dicom_node.config import SHIPPED_BUNDLE, Settings, load_settings
from dicom_node.errors import ConfigError, M3BindError
from dicom_node.signals import end_now, stop_on_signals

if TYPE_CHECKING:  # importing the node takes a second, which --help should not
    from dicom_node.node import Runnable
    from dicom_node.storage import Storage

app = typer.Typer(
    name="dicom-node",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Receive DICOM studies, run M3Bind encoders, write zero-shot findings back as DICOM SR. "
    "Not a medical device.",
)
bundle_app = typer.Typer(no_args_is_help=True, help="Look at and verify bundles.")
app.add_typer(bundle_app, name="bundle")

PIPE_WIDTH = 132
"""Columns of a table that is written to a file or a pipe."""
WHOLE_WIDTH = 1000
"""More columns than any row of a catalogue has: a row is a line, and nothing is wrapped."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="TOML file; see deploy/node.example.toml. Default: built-in settings."
    ),
]
BundleOption = Annotated[
    Path,
    typer.Option("--bundle", "-b", help="Folder of the bundle. Default: the one that ships with the node."),
]


def main() -> None:
    """Entry point: errors of this project become one clear line and exit status 1."""
    try:
        app()
    except M3BindError as error:
        Console(stderr=True).print(
            f"error: {error}", style="bold red", markup=False, highlight=False, soft_wrap=True
        )
        raise SystemExit(1) from error


@app.command()
def serve(config: ConfigOption = None) -> None:
    """Run the node: DICOM SCP, web page, and a worker.

    Example: dicom-node serve --config node.toml
    """
    with _prepared_storage(config) as (settings, storage, stop):
        from dicom_node.node import Node

        node = Node(settings, storage)
        _tell_undelivered(settings)
        finished = _run(node, stop)
    if not finished:
        end_now(0)


@app.command()
def worker(config: ConfigOption = None) -> None:
    """Run one more worker on the node's database (same configuration as `serve`).

    Example: dicom-node worker --config node.toml
    """
    with _prepared_storage(config) as (settings, storage, stop):
        from dicom_node.node import WorkerNode

        finished = _run(WorkerNode(settings, storage), stop)
    if not finished:
        end_now(0)


@app.command()
def explain(
    files: Annotated[list[Path], typer.Argument(help="DICOM files.")],
    bundle: BundleOption = SHIPPED_BUNDLE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Say what the node would do with an object, and why; tells no patient data.

    Example: dicom-node explain image.dcm
    """
    from dicom_node.bundle.store import open_bundle
    from dicom_node.explain import explain as run
    from dicom_node.pixels.contained import DecoderPool
    from dicom_node.tables import explained

    if folders := [path for path in files if path.is_dir()]:
        raise ConfigError(
            f"{folders[0]} is a folder: name the files in it, or analyse it as a whole: "
            f"dicom-node analyse {shlex.quote(str(folders[0]))} --out reports"
        )
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise ConfigError(f"there is no file {missing[0]}")
    encoders = open_bundle(bundle).manifest.encoders
    with DecoderPool(1) as decode:
        for path in files:
            told = run(path, encoders, decode)
            print(json.dumps(told, ensure_ascii=False) if as_json else "\n".join(explained(told)))


@app.command()
def analyse(
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for one JSON and one SR per study.")],
    bundle: BundleOption = SHIPPED_BUNDLE,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object instead of a table.")
    ] = False,
) -> None:
    """Analyse studies on disk; needs no server and no database.

    Exit status 0: every study was reported or refused with a reason. 1: a study failed, or none was found.

    Example: dicom-node analyse /data/studies --out reports
    """
    from dicom_node.analyse import analyse as run
    from dicom_node.analyse import find_studies
    from dicom_node.engine import Engine
    from dicom_node.logs import configure_logging
    from dicom_node.pixels.contained import DecoderPool, cores
    from dicom_node.tables import not_dicom_lines, outcome_line, outcome_to_json, repeated_lines

    configure_logging("warning", "text")
    console = Console(stderr=as_json, highlight=False)
    with console.status("looking for DICOM files"):
        found = find_studies(paths, out=out)
    for line in [*not_dicom_lines(found.not_dicom), *repeated_lines(found.repeated)]:
        console.print(line, markup=False, soft_wrap=True)
    if not found.studies:
        console.print("no DICOM study found under the given paths", markup=False, soft_wrap=True)
        raise typer.Exit(1)
    with console.status("loading the bundle"):
        engine = Engine.load(bundle)
    with DecoderPool(cores()) as decode, console.status("") as status:
        outcomes = run(
            found,
            engine,
            out,
            decode=decode,
            now=lambda: datetime.now().astimezone(),
            started=lambda uid: status.update(f"analysing study {uid}"),
            ended=lambda outcome: console.print(outcome_line(outcome), markup=False, soft_wrap=True),
        )
    if as_json:
        print(
            json.dumps(
                {
                    "studies": [outcome_to_json(outcome) for outcome in outcomes],
                    "not_dicom": [str(item.path) for item in found.not_dicom],
                    "repeated": [str(path) for path, _ in found.repeated],
                },
                indent=2,
            )
        )
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="End after the table instead of waiting for Ctrl-C.")
    ] = False,
    data_dir: Annotated[Path, typer.Option(help="Folder for the demo's node; emptied at each start.")] = Path(
        "var/demo"
    ),
) -> None:
    """Start a node, send it one real study per modality, print what it found, leave the web page up.

    Example: dicom-node demo
    """
    from dicom_node.demo import run_demo

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPE_WIDTH  # nobody has a narrow window there
    raise typer.Exit(run_demo(data_dir, stay=not once, console=console))


@app.command()
def echo(
    host: Annotated[str, typer.Argument(help="Peer's host name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Argument(min=1, max=65535, help="Peer's DICOM port.")] = 11112,
    called: Annotated[str, typer.Option("--called", help="Peer's AE title.")] = "M3BIND",
    calling: Annotated[str, typer.Option("--calling", help="Our AE title.")] = "M3BIND",
) -> None:
    """Ask a DICOM peer whether it answers (C-ECHO).

    Example: dicom-node echo 127.0.0.1 11112 --called M3BIND
    """
    from dicom_node.dimse.server import echo as send_echo

    send_echo(host, port, called, calling_ae=calling)
    print(f"{called} at {host}:{port} answered")


@bundle_app.command("verify")
def bundle_verify(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")] = SHIPPED_BUNDLE,
) -> None:
    """Check every file of a bundle against its manifest and run its self-test on this machine.

    Example: dicom-node bundle verify ./my-bundle
    """
    from dicom_node.engine import Engine
    from dicom_node.logs import configure_logging

    configure_logging("warning", "text")
    engine = Engine.load(bundle)
    identity = engine.identity
    print(f"{identity.name} {identity.version} is whole and answers as sealed ({identity.digest[:12]})")


@bundle_app.command("show")
def bundle_show(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")] = SHIPPED_BUNDLE,
) -> None:
    """Say what a bundle is: modalities, findings, measured figures.

    Example: dicom-node bundle show
    """
    from dicom_node.bundle.store import open_bundle
    from dicom_node.tables import bundle_table

    opened = open_bundle(bundle)
    console = Console(highlight=False)
    manifest = opened.manifest
    console.print(f"{manifest.name} {manifest.version}: {manifest.description}", markup=False, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WHOLE_WIDTH
    table = bundle_table(opened.findings)
    whole = console.measure(table, options=console.options.update(max_width=WHOLE_WIDTH))
    console.print(table if whole.maximum <= console.width else bundle_table(opened.findings, stacked=True))


@contextmanager
def _prepared_storage(config: Path | None) -> Iterator[tuple[Settings, Storage, threading.Event]]:
    """PostgreSQL comes up in its own process while this one still imports; closed whatever happens.

    Signals are heeded before it starts, so that it is stopped however early they come.
    """
    settings = load_settings(config)
    stop = stop_on_signals()
    from dicom_node.storage import Storage

    storage = Storage(settings)
    storage.prepare()
    try:
        yield settings, storage, stop
    finally:
        storage.close()


def _tell_undelivered(settings: Settings) -> None:
    """Nobody who configured an archive expects it to stay empty. Logging must be configured."""
    import structlog

    if settings.archives and not settings.deliver_to:
        structlog.get_logger(__name__).warning(
            "archives_get_nothing",
            reason="archives are configured, but deliver_to names none: "
            "reports of studies that come by C-STORE stay in this node",
            archives=[archive.name for archive in settings.archives],
        )


def _run(node: Runnable, stop: threading.Event) -> bool:
    """Run until `stop` is set; False where a job was cut off, whose thread still runs."""
    try:
        if not stop.is_set():
            node.start(stop)
            stop.wait()
    finally:
        finished = node.stop()
    return finished


if __name__ == "__main__":
    main()
