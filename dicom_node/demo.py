"""`dicom-node demo`: the whole way, once, on one real study per modality.

start the node -> C-STORE the sample studies to its own SCP -> wait for their reports -> table -> web page

It works in a folder of its own, with a database of its own, and delivers nowhere, whatever the environment
says of the site's node: that may move the ports and choose the bundle, no more.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pynetdicom import AE
from rich.console import Console

from dicom_node.config import (
    DatabaseSettings,
    DimseSettings,
    Settings,
    SpoolSettings,
    StudySettings,
    WorkerSettings,
    load_settings,
)
from dicom_node.errors import ArchiveUnavailableError, ConfigError, M3BindError
from dicom_node.node import Node
from dicom_node.signals import end_now, stop_on_signals
from dicom_node.storage import DATABASE_FOLDER, Storage
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.states import StudyRecord, StudyState
from dicom_node.tables import DemoRow, demo_table, summary_of

SAMPLES = Path(__file__).parent / "assets" / "samples"
MARKER = ".m3bind-demo"
QUIET_SECONDS = 1.0
"""The samples come from this machine without pauses."""
WAIT_SECONDS = 120.0
"""For one study; a hundred times what the slowest one takes on two cores."""
BUSY = frozenset({StudyState.RECEIVING, StudyState.QUEUED, StudyState.PROCESSING})


@dataclass(frozen=True, slots=True, eq=False)
class SampleStudy:
    """One of the studies that ship with the node."""

    folder: str
    """Its folder among the samples, named after the modality."""
    title: str
    """Its Study Description; the patients are invented."""
    study_uid: str
    datasets: tuple[Dataset, ...]


def sample_studies(folder: Path = SAMPLES) -> tuple[SampleStudy, ...]:
    """The shipped studies, read whole (8 MB in all), in the order of their folders' names."""
    studies = []
    for member in sorted(path for path in folder.iterdir() if path.is_dir()):
        datasets = tuple(dcmread(path) for path in sorted(member.glob("*.dcm")))
        studies.append(
            SampleStudy(
                member.name, str(datasets[0].StudyDescription), str(datasets[0].StudyInstanceUID), datasets
            )
        )
    return tuple(studies)


def run_demo(data_dir: Path, *, stay: bool, console: Console) -> int:
    """Run the demo; returns the exit status: 0 when every study was reported.

    Raises ConfigError when `data_dir` is a folder of something else or of a demo that runs, or a port is
    taken; nothing is removed then.
    """
    stop = stop_on_signals()
    settings = demo_settings(data_dir)
    with _alone(settings.data_dir):
        node = Node(settings, Storage(settings))  # takes the port of the web page
        try:
            require_free(settings.dimse)
            empty_demo_folder(settings.data_dir)
            with _step(console, "starting the node: embedded PostgreSQL, bundle, DICOM SCP, web page"):
                began = time.perf_counter()
                node.start(stop)
            if stop.is_set():
                return 1
            console.print(
                f"node ready in {time.perf_counter() - began:.1f} s: DICOM {settings.dimse.ae_title} at "
                f"{settings.dimse.host}:{node.dimse_port}, bundle {node.bundle_name}"
            )
            rows, failed = _run_studies(node, settings.dimse, data_dir, stop, console)
            console.print(demo_table(rows))
            console.print(f"web page: {node.url}", markup=False)
            if stay and not stop.is_set():
                console.print("Ctrl-C ends the demo")
                stop.wait()
            return 1 if failed else 0
        finally:
            with _step(console, "stopping the node"):
                finished = node.stop()
            if not finished:
                end_now(1)


def demo_settings(data_dir: Path) -> Settings:
    """Of the environment's settings only those that cannot reach anything but the demo itself."""
    given = load_settings(log_level="warning")
    return given.model_copy(
        update={
            "data_dir": data_dir.expanduser().absolute(),
            "database": DatabaseSettings(),
            "spool": SpoolSettings(min_free_bytes=0),
            "study": StudySettings(quiet_seconds=QUIET_SECONDS),
            "worker": WorkerSettings(),
            "archives": (),
            "deliver_to": (),
        }
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a demo's folder, which lies beside it as the folder itself is emptied."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"a demo runs in {folder}; end it, or name another folder with --data-dir"
            ) from error
        yield


def require_free(peer: DimseSettings) -> None:
    """Raises ConfigError where the DICOM port is taken: it is opened long after the folder is emptied."""
    try:
        socket.create_server((peer.host, peer.port)).close()
    except OSError as error:
        raise ConfigError(
            f"dimse.port: cannot listen on {peer.host}:{peer.port} ({error.strerror}); choose another one, "
            "for instance M3BIND__DIMSE__PORT=0 for any that is free"
        ) from error


def empty_demo_folder(folder: Path) -> None:
    """Start afresh, but never remove a folder that the demo did not make.

    Raises ConfigError for such a one, DatabaseUnavailableError where a node runs on the folder.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise ConfigError(f"{folder} holds something else; name another folder with --data-dir")
        EmbeddedPostgres(folder / DATABASE_FOLDER).discard()  # a demo that was killed has left it running
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


@contextmanager
def _step(console: Console, what: str) -> Iterator[Callable[[str], None]]:
    """Say what is being done, in place on a terminal, else line by line; yields how to say the next."""
    if console.is_terminal:
        with console.status(what) as status:
            yield status.update
        return

    def tell(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)
        console.file.flush()

    tell(what)
    yield tell


def _run_studies(
    node: Node, peer: DimseSettings, data_dir: Path, stop: threading.Event, console: Console
) -> tuple[list[DemoRow], bool]:
    rows, failed = [], False
    studies = sample_studies()
    with _step(console, "sending the sample studies") as tell:
        for study in studies:
            tell(f"sending {study.title} ({len(study.datasets)} instances)")
            send(study.datasets, peer.host, node.dimse_port, peer.ae_title)
        for study in studies:
            tell(f"waiting for the report of {study.title}")
            record = _wait(node, study.study_uid, stop)
            failed |= record.state is not StudyState.REPORTED
            rows.append(_row(node, study, record, data_dir))
    return rows, failed


def send(datasets: Sequence[Dataset], host: str, port: int, called: str) -> None:
    """C-STORE the data sets over one association; raises ArchiveUnavailableError when one is not taken."""
    ae = AE(ae_title="M3BIND_DEMO")
    for sop_class, syntax in sorted(
        {(str(d.SOPClassUID), str(d.file_meta.TransferSyntaxUID)) for d in datasets}
    ):
        ae.add_requested_context(sop_class, syntax)
    association = ae.associate(host, port, ae_title=called)
    if not association.is_established:
        raise ArchiveUnavailableError(f"{called} at {host}:{port} did not take the association")
    try:
        for dataset in datasets:
            status = association.send_c_store(dataset)
            if status.get("Status") != 0x0000:
                raise ArchiveUnavailableError(f"{called} refused an instance: {status.get('Status')}")
    finally:
        association.release()


def _wait(node: Node, study_uid: str, stop: threading.Event) -> StudyRecord:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        record = node.store.study(study_uid)
        if record is not None and record.state not in BUSY:
            return record
        if stop.wait(0.05):
            raise M3BindError("interrupted before all reports were there")
        if time.monotonic() > deadline:
            raise M3BindError(f"no report of study {study_uid} after {WAIT_SECONDS:.0f} s; see the log")


def _row(node: Node, study: SampleStudy, record: StudyRecord, folder: Path) -> DemoRow:
    """Also copies the SR to a name that a person can type."""
    assessment = node.store.assessment(study.study_uid) or {"findings": []}
    report = None if record.report_uid is None else node.store.report(record.report_uid)
    copy = None
    if report is not None:
        copy = folder / f"{study.folder}.dcm"
        shutil.copyfile(report.path, copy)
    finished = record.finished_at or record.last_received
    return DemoRow(
        study=study.title,
        modality=record.modality or "-",
        findings=summary_of(assessment["findings"]) if report else f"{record.state}: {record.reason}",
        report=copy,
        seconds=(finished - record.last_received).total_seconds(),
    )
