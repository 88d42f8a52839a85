"""A worker whose work does what each test says, on the real store and queue."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from dicom_node.jobs import app as jobs_app
from dicom_node.jobs import gate, retry, tasks
from dicom_node.jobs.app import WorkerThread, make_app
from dicom_node.records import BundleIdentity, Presence, StoredReport
from dicom_node.spool import Spool
from dicom_node.store.states import DeliveredAs, FetchState, StudyState
from dicom_node.store.studies import StudyStore
from tests.support.small_dicom import ROOT, instance_of, make_dataset
from tests.support.studies import assessment, finding

STUDY = f"{ROOT}.1"


class Recorded:
    """Work that does what each test says, and remembers when."""

    def __init__(self, store: StudyStore, spool: Spool) -> None:
        self.store = store
        self.spool = spool
        self.calls: list[tuple[str, float]] = []
        self.destinations = ["pacs"]
        self.delivering = ""
        self.on_process: Callable[[], None] = lambda: None
        self.on_deliver: Callable[[], None] = lambda: None
        self.on_fetch: Callable[[], None] = lambda: None
        self.on_reembed: Callable[[], None] = lambda: None

    def process_study(self, study_uid: str, revision: int) -> None:
        self.calls.append(("process", time.monotonic()))
        job = self.store.begin(study_uid, revision)
        if job is None:
            return
        self.on_process()
        uid = f"{study_uid}.99.{revision}"
        report = StoredReport(
            sop_instance_uid=uid,
            sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
            series_uid=f"{study_uid}.99",
            study_uid=study_uid,
            path=self.spool.root / "reports" / f"{uid}.dcm",
            size=1,
            sha256="00" * 32,
        )
        found = assessment(study_uid, finding("Pneumonia", "233604007", 0.8, Presence.PRESENT))
        self.store.finish(job, found, report, self.destinations)

    def deliver_report(self, report_uid: str, destination: str) -> DeliveredAs | None:
        self.calls.append(("deliver", time.monotonic()))
        self.delivering = destination
        self.on_deliver()
        return DeliveredAs(report_uid, "1.2.840.10008.5.1.4.1.1.88.34")

    def fetch_study(self, archive: str, resource_id: str) -> None:  # noqa: ARG002
        self.calls.append(("fetch", time.monotonic()))
        self.on_fetch()

    def reembed_study(self, study_uid: str, bundle_digest: str) -> None:
        self.calls.append(("reembed", time.monotonic()))
        job = self.store.begin_reembedding(study_uid, bundle_digest)
        if job is None:
            return
        self.on_reembed()
        now = BundleIdentity("m3bind-mini", "0.2.0", bundle_digest)
        found = finding("Pneumonia", "233604007", 0.1, Presence.ABSENT)
        self.store.finish_reembedding(job, assessment(study_uid, found, bundle=now))

    def count(self, what: str) -> int:
        return sum(name == what for name, _ in self.calls)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same decisions, sooner."""
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(retry, "HASTY_PAUSE", 0.05)
    monkeypatch.setattr(tasks, "HASTY_PAUSE", 0.05)
    monkeypatch.setattr(gate, "REST_SECONDS", 0.05)
    monkeypatch.setattr(jobs_app, "POLL_SECONDS", 0.2)
    monkeypatch.setattr(jobs_app, "SWEEP_SECONDS", 0.3)
    monkeypatch.setattr(jobs_app, "STALLED_SECONDS", 3.0)


@contextmanager
def working(url: str, work: Recorded) -> Iterator[WorkerThread]:
    worker = WorkerThread(make_app(url, work, work.store), concurrency=2)
    worker.start()
    try:
        yield worker
    finally:
        assert worker.stop(timeout=30)


def queue_study(store: StudyStore, spool: Spool, number: int = 1) -> None:
    store.add_instance(instance_of(make_dataset(number, 1), spool.root), origin=None, calling_ae=None)
    store.complete_now(f"{ROOT}.{number}")


def state(store: StudyStore, study: str = STUDY) -> StudyState | None:
    record = store.study(study)
    return None if record is None else record.state


def fetch_state(store: StudyStore) -> FetchState | None:
    found = store.fetch("orthanc", "abc")
    return None if found is None else found.state
