"""How long a study takes from its last C-STORE to its report in the archive, part by part; and a warm start.

    python tests/benchmarks/bench_latency.py --runs 5
    python tests/benchmarks/bench_latency.py --runs 5 --archive orthanc

Starts the real node, sends it the sample studies under fresh UIDs with dcmtk's storescu, one at a time, and
lets it deliver to dcmtk's storescp or to a real Orthanc. Times are medians over the runs, in milliseconds:

    notice    from the end of the quiet time until the study counts as complete
    decode    pixels and waveforms read and made ready
    encode    the encoders
    assess    findings scored
    report    the SR built and on disk
    deliver   from the result in the store until the archive has the report
    other     all else: the queue, the store
    total     from the last C-STORE until the archive has the report, less the quiet time
    overhead  total less decode and encode: what the node itself costs

The last C-STORE is the moment the store took its instance in, just before it was answered. storescp has
the report when it has written the file; Orthanc, when it has answered.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import generate_uid
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from tests.support.dcmtk import StoreScp, running_store_scp, store_scu
from tests.support.node_process import NodeProcess
from tests.support.orthanc import OrthancServer
from tests.support.tree import ROOT
from tests.support.waiting import wait_until

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
QUIET_SECONDS = 1.0
TARGET_OVERHEAD_MS = 300.0
TARGET_START_SECONDS = 3.0
PARTS = ("notice", "decode", "encode", "assess", "report", "deliver", "other", "total", "overhead")
OWN_KEYWORDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
WAIT_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Archive:
    """Where reports go, and how to see when one has arrived."""

    table: Mapping[str, Any]
    """Its entry in the node's configuration."""
    storescp: StoreScp | None

    def arrived(self, delivery: Mapping[str, Any]) -> datetime:
        """When the archive had the report."""
        delivered = datetime.fromisoformat(delivery["delivered_at"])
        if self.storescp is None:
            return delivered
        [file] = [path for path in self.storescp.files() if path.name.endswith(delivery["report_uid"])]
        return datetime.fromtimestamp(file.stat().st_mtime, tz=delivered.tzinfo)


def fresh_copy(study: Path, folder: Path) -> str:
    """The objects of `study` under new UIDs, references among them kept, in `folder`; the new study UID."""
    datasets = [dcmread(path) for path in sorted(study.glob("*.dcm"))]
    own = {str(dataset[word].value) for dataset in datasets for word in OWN_KEYWORDS if word in dataset}
    renamed = {uid: generate_uid() for uid in sorted(own)}

    def rename(_: Dataset, element: DataElement) -> None:
        if element.VR == "UI" and str(element.value) in renamed:
            element.value = renamed[str(element.value)]

    folder.mkdir(parents=True)
    for number, dataset in enumerate(datasets):
        dataset.walk(rename)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)
    return str(datasets[0].StudyInstanceUID)


def timings(study: Mapping[str, Any], archive: Archive) -> dict[str, float]:
    """The parts of one study's way in milliseconds, from what the node and the archive noted."""
    [delivery] = study["deliveries"]
    received, completed, finished = (
        datetime.fromisoformat(study[name]) for name in ("last_received", "completed_at", "finished_at")
    )
    arrived = archive.arrived(delivery)
    parts = {part: study["assessment"]["seconds"][part] for part in ("decode", "encode", "assess", "report")}
    parts["notice"] = (completed - received).total_seconds() - QUIET_SECONDS
    parts["deliver"] = (arrived - finished).total_seconds()
    parts["total"] = (arrived - received).total_seconds() - QUIET_SECONDS
    parts["other"] = parts["total"] - sum(seconds for part, seconds in parts.items() if part != "total")
    parts["overhead"] = parts["total"] - parts["decode"] - parts["encode"]
    return {part: parts[part] * 1000 for part in PARTS}


def measure(node: NodeProcess, archive: Archive, study: Path, folder: Path) -> dict[str, float]:
    """Send one study and wait for its report."""
    uid = fresh_copy(study, folder)
    store_scu([folder], node.dicom_port, called=node.ae_title, options=["-xy"])

    def delivered() -> bool:
        told = node.study(uid)
        if told is not None and told["state"] in {"failed", "refused", "out_of_scope"}:
            raise AssertionError(f"{study.name} ended as {told['state']}: {told['reason']}")
        return told is not None and [d["state"] for d in told["deliveries"]] == ["delivered"]

    wait_until(delivered, f"delivered report of {study.name}", WAIT_SECONDS)
    return timings(node.get(f"/api/studies/{uid}"), archive)


@contextmanager
def running_archive(kind: str, folder: Path) -> Iterator[Archive]:
    """A real archive inside the block."""
    if kind == "storescp":
        with running_store_scp(folder / "archive", ae_title="ARCHIVE") as peer:
            table = {"kind": "cstore", "name": "archive", "host": "127.0.0.1", "port": peer.port}
            yield Archive({**table, "ae_title": peer.ae_title}, peer)
        return
    orthanc = OrthancServer(folder / "orthanc")
    orthanc.start()
    try:
        yield Archive({"kind": "orthanc", "name": "archive", "url": orthanc.url}, None)
    finally:
        orthanc.stop()


def latency_table(medians: Mapping[str, Mapping[str, float]], runs: int) -> Table:
    """One line per modality."""
    table = Table(title=f"last C-STORE to report in the archive, ms, median of {runs}")
    for heading in ("study", *PARTS):
        table.add_column(heading, justify="left" if heading == "study" else "right", no_wrap=True)
    for name, parts in medians.items():
        good = parts["overhead"] < TARGET_OVERHEAD_MS
        cells = [f"{parts[part]:.0f}" for part in PARTS]
        cells[-1] = f"[{'green' if good else 'red'}]{cells[-1]}[/]"
        table.add_row(name, *cells)
    return table


def run(options: argparse.Namespace, folder: Path, console: Console) -> tuple[dict[str, Any], bool]:
    """Everything: the figures, and whether every target was met."""
    runs: int = options.runs
    with running_archive(options.archive, folder) as archive:
        node = NodeProcess(
            folder / "node",
            bundle=options.bundle,
            archives=[archive.table],
            deliver_to=["archive"],
            settings={"study": {"quiet_seconds": QUIET_SECONDS}, "spool": {"min_free_bytes": 0}},
        )
        with node:
            first = node.start()
            console.print(f"first start, with a new database: {first:.2f} s")
            samples: dict[str, list[dict[str, float]]] = {}
            for number in range(runs + 1):
                for study in sorted(path for path in SAMPLES.iterdir() if path.is_dir()):
                    parts = measure(node, archive, study, folder / "sent" / f"{number}-{study.name}")
                    # The first of each warms caches of files and models; it is shown, and left out.
                    if number > 0:
                        samples.setdefault(study.name, []).append(parts)
                    console.print(f"run {number} {study.name}: {parts['total']:.0f} ms", style="dim")
            starts = [restart(node) for _ in range(runs)]
    medians = {
        name: {part: statistics.median(each[part] for each in found) for part in PARTS}
        for name, found in samples.items()
    }
    console.print(latency_table(medians, runs))
    start = statistics.median(starts)
    console.print(f"warm start until /health says 200: median {start:.2f} s, slowest {max(starts):.2f} s")
    met = start <= TARGET_START_SECONDS
    met = met and all(parts["overhead"] < TARGET_OVERHEAD_MS for parts in medians.values())
    figures = {
        "archive": options.archive,
        "runs": runs,
        "ms": medians,
        "start_s": {"first": first, "warm": starts},
    }
    return figures, met


def restart(node: NodeProcess) -> float:
    """Stop the node and start it again on its data; seconds until it is ready."""
    node.stop()
    return node.start()


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; exit status 1 with --check when a target is missed."""
    parser = argparse.ArgumentParser(description="Time from the last C-STORE to the report in the archive.")
    parser.add_argument("--runs", type=int, default=5, help="measured runs per study (default 5)")
    parser.add_argument(
        "--archive", choices=("storescp", "orthanc"), default="storescp", help="who gets the reports"
    )
    parser.add_argument("--bundle", type=Path, help="folder of a bundle (default: the one that ships)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--check", action="store_true", help="fail when a target is missed")
    options = parser.parse_args(arguments)
    console = Console(highlight=False, width=120)
    folder = Path(tempfile.mkdtemp(prefix="m3bind-bench-"))
    try:
        figures, met = run(options, folder, console)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    targets = (
        f"overhead < {TARGET_OVERHEAD_MS:.0f} ms for every study, warm start <= {TARGET_START_SECONDS:.0f} s"
    )
    console.print(f"targets ({targets}): {'met' if met else 'MISSED'}")
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
