"""A node without models: real port, spool, database, queue and worker; the report is a list of instances.

    python -m tests.support.small_node DATA_DIR QUIET_SECONDS

Prints `ready PORT` and runs until SIGTERM. What it "delivers" is appended to DATA_DIR/delivered.txt.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from pathlib import Path

import structlog

from dicom_node.dimse.server import DicomServer, ScpSettings
from dicom_node.intake import Intake, QuietWatch
from dicom_node.jobs.app import WorkerThread, make_app
from dicom_node.spool import Spool
from dicom_node.store.database import open_pool
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.states import Job
from dicom_node.store.studies import StudyStore
from tests.support.studies import assessment

SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.34"


class ListingWork:
    """Writes the UIDs of a study's instances as its report."""

    def __init__(self, store: StudyStore, spool: Spool, delivered: Path) -> None:
        self._store = store
        self._spool = spool
        self._delivered = delivered

    def process_study(self, study_uid: str, revision: int) -> None:
        """Read every file of the study, keep the list."""
        job = self._store.begin(study_uid, revision)
        if job is None:
            return
        report = self._spool.store_report(
            self._list(job),
            study_uid=study_uid,
            series_uid=f"{study_uid}.99",
            sop_class_uid=SR_CLASS,
            sop_instance_uid=f"{study_uid}.99.{revision}",
        )
        self._store.finish(job, assessment(study_uid), report, ["pacs"])

    def deliver_report(self, report_uid: str, destination: str) -> None:
        """One line for each delivery."""
        with self._delivered.open("a", encoding="ascii") as log:
            log.write(f"{report_uid} {destination}\n")

    def fetch_study(self, archive: str, resource_id: str) -> None:
        """Nobody announces studies here."""
        raise NotImplementedError(archive, resource_id)

    def _list(self, job: Job) -> bytes:
        for instance in job.instances:
            assert instance.path.stat().st_size == instance.size
        return "\n".join(i.sop_instance_uid for i in job.instances).encode("ascii")


def main(folder: Path, quiet_seconds: float) -> None:
    """Run until SIGTERM."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with EmbeddedPostgres(folder / "pg") as server:
        pool = open_pool(server.url)
        spool = Spool(folder / "spool", min_free_bytes=1)
        spool.open()
        store = StudyStore(pool, spool.root)
        intake = Intake(spool, store)
        spool.sweep(intake.adopt)
        store.recover(alone=server.was_alone)
        work = ListingWork(store, spool, folder / "delivered.txt")
        worker = WorkerThread(make_app(server.url, work, store))
        watch = QuietWatch(store, quiet_seconds)
        port = DicomServer(intake, ScpSettings(port=0))
        worker.start()
        watch.start()
        print("ready", port.start(), flush=True)
        stop.wait()
        port.stop()
        watch.stop()
        worker.stop()
        pool.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
