"""Workers on a real queue: work is done once, tried again, given up, and taken over from the dead."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psycopg
import pytest

from dicom_node.errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    UnreadableObjectError,
)
from dicom_node.jobs import app as jobs_app
from dicom_node.jobs import tasks
from dicom_node.jobs.app import WorkerThread, make_app
from dicom_node.spool import Spool
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, transaction
from dicom_node.store.states import DeliveryState, StudyState
from dicom_node.store.studies import StudyStore
from tests.support.postgres import Databases
from tests.support.recorded_work import STUDY, Recorded, hurry, queue_study, state, working
from tests.support.small_dicom import ROOT
from tests.support.waiting import wait_until


@pytest.fixture
def work(store: StudyStore, spool: Spool) -> Recorded:
    return Recorded(store, spool)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_a_study_is_processed_and_delivered_without_waiting_for_a_poll(
    database_url: str, work: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_app, "POLL_SECONDS", 60.0)
    with working(database_url, work):
        queue_study(work.store, work.spool, 2)  # whatever the worker needs to get going is behind us then
        wait_until(lambda: state(work.store, f"{ROOT}.2") is StudyState.REPORTED, "first report")
        began = time.monotonic()
        queue_study(work.store, work.spool)
        wait_until(lambda: work.count("deliver") == 2, "delivery")
        assert work.calls[-1][1] - began < 5.0
        wait_until(
            lambda: [d.state for d in work.store.deliveries(STUDY)] == [DeliveryState.DELIVERED],
            "record of the delivery",
        )
    assert work.count("process") == 2


def test_an_archive_that_is_down_is_asked_again_until_it_is_up(database_url: str, work: Recorded) -> None:
    def down_twice() -> None:
        if work.count("deliver") < 3:
            raise ArchiveUnavailableError("nobody answers")

    work.on_deliver = down_twice
    queue_study(work.store, work.spool)
    with working(database_url, work):
        wait_until(
            lambda: [d.state for d in work.store.deliveries(STUDY)] == [DeliveryState.DELIVERED], "delivery"
        )
    (delivery,) = work.store.deliveries(STUDY)
    assert delivery.attempts == 3
    assert work.count("process") == 1


def test_a_refused_delivery_is_given_up_and_can_be_retried(database_url: str, work: Recorded) -> None:
    def refuse_once() -> None:
        if work.count("deliver") == 1:
            raise ArchiveRefusedError("no such SOP class here")

    work.on_deliver = refuse_once
    queue_study(work.store, work.spool)
    with working(database_url, work):
        wait_until(
            lambda: [d.state for d in work.store.deliveries(STUDY)] == [DeliveryState.FAILED], "refusal"
        )
        (delivery,) = work.store.deliveries(STUDY)
        assert delivery.last_error == "no such SOP class here"
        assert work.store.retry_delivery(delivery.report_uid, "pacs")
        wait_until(
            lambda: [d.state for d in work.store.deliveries(STUDY)] == [DeliveryState.DELIVERED], "delivery"
        )


def test_the_unexpected_is_tried_three_times_then_the_study_has_failed(
    database_url: str, work: Recorded, capsys: pytest.CaptureFixture[str]
) -> None:
    quotation = "Doe^John has no pixels"

    def break_down() -> None:
        raise ValueError(quotation)

    work.on_process = break_down
    queue_study(work.store, work.spool)
    with working(database_url, work):
        wait_until(lambda: state(work.store) is StudyState.FAILED, "failed study")
        assert work.count("process") == 3
        work.on_process = lambda: None
        assert work.store.retry(STUDY)
        wait_until(lambda: state(work.store) is StudyState.REPORTED, "report of the retry")
    captured = capsys.readouterr()
    assert "break_down" in captured.out + captured.err
    assert "Doe" not in captured.out + captured.err
    failed = [entry for entry in trail(work.store._pool, STUDY) if entry.event == "study.failed"]
    assert [e.detail["reason"] for e in failed] == [
        "given up after 3 tries: ValueError (the log tells where)"
    ]


def test_bad_input_is_not_tried_again(database_url: str, work: Recorded) -> None:
    def unreadable() -> None:
        raise UnreadableObjectError("no-pixel-data", "no pixel data")

    work.on_process = unreadable
    queue_study(work.store, work.spool)
    with working(database_url, work):
        wait_until(lambda: state(work.store) is StudyState.FAILED, "failed study")
    assert work.count("process") == 1
    record = work.store.study(STUDY)
    assert record is not None
    assert record.reason == "no pixel data"


def test_stopping_finishes_the_job_in_hand(database_url: str, work: Recorded) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert go_on.wait(20)

    work.on_process = wait
    queue_study(work.store, work.spool)
    worker = WorkerThread(make_app(database_url, work, work.store))
    worker.start()
    assert begun.wait(20)
    assert not worker.stop(timeout=0.2)
    go_on.set()
    assert worker.stop(timeout=20)
    assert state(work.store) is StudyState.REPORTED
    assert work.store.begin(STUDY) is None


DIE = """
import os, sys
from dicom_node.jobs import app as jobs_app
from dicom_node.jobs.app import WorkerThread, make_app
from pathlib import Path
from dicom_node.store.database import open_pool
from dicom_node.store.studies import StudyStore

url, root = sys.argv[1:]
store = StudyStore(open_pool(url, size=2), Path(root))

class Work:
    def process_study(self, study_uid, revision):
        assert store.begin(study_uid, revision) is not None
        print("begun", flush=True)
        os.kill(os.getpid(), 9)

WorkerThread(make_app(url, Work(), store)).start()
sys.stdin.read()
"""


def test_what_a_killed_worker_had_in_hand_is_done_by_another(database_url: str, work: Recorded) -> None:
    queue_study(work.store, work.spool)
    with subprocess.Popen(
        [sys.executable, "-c", DIE, database_url, str(work.spool.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "begun\n"
        killed.wait(20)
    assert state(work.store) is StudyState.PROCESSING
    with working(database_url, work):
        wait_until(lambda: state(work.store) is StudyState.REPORTED, "report", seconds=30)
    assert len(work.store.reports(STUDY)) == 1


def test_a_job_that_takes_its_worker_down_every_time_ends(
    database_url: str, work: Recorded, pool: Pool
) -> None:
    queue_study(work.store, work.spool)
    with transaction(pool) as connection:
        connection.execute("UPDATE procrastinate_jobs SET attempts = %s", (tasks.MAX_STARTS,))
    with working(database_url, work):
        wait_until(lambda: state(work.store) is StudyState.FAILED, "failed study")
    assert work.count("process") == 0


def test_a_worker_comes_back_when_the_database_does(database_url: str, work: Recorded) -> None:
    with working(database_url, work):
        queue_study(work.store, work.spool)
        wait_until(lambda: state(work.store) is StudyState.REPORTED, "report")
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        queue_study(work.store, work.spool, 2)
        wait_until(lambda: state(work.store, f"{ROOT}.2") is StudyState.REPORTED, "second report", seconds=30)


@pytest.mark.parametrize("noticed", [False, True])
def test_stopping_does_not_wait_for_a_database_that_is_gone(
    databases: Databases,
    work: Recorded,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    noticed: bool,
) -> None:
    monkeypatch.setattr(jobs_app, "CONNECT_SECONDS", 0.5)
    url = databases.create()
    worker = WorkerThread(make_app(url, work, work.store))
    worker.start()
    with psycopg.connect(url, autocommit=True) as connection:
        sql = "SELECT count(*) FROM procrastinate_workers"
        wait_until(lambda: connection.execute(sql).fetchone() == (jobs_app.LANES,), "worker at work")
    databases.drop(url)
    if noticed:
        wait_until(lambda: "worker.interrupted" in capsys.readouterr().out, "notice of the loss")
    assert worker.stop(timeout=10)
