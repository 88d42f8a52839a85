"""Lanes, fetches and tries on a real queue: what is down holds up nothing else, and uses up nothing else."""

from __future__ import annotations

import threading

import pytest

from dicom_node.archive.protocol import StudyGoneError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, StorageFullError
from dicom_node.jobs import gate, retry, tasks
from dicom_node.spool import Spool
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, transaction
from dicom_node.store.states import DeliveryState, FetchState, StudyState
from dicom_node.store.studies import StudyStore
from tests.support.recorded_work import STUDY, Recorded, fetch_state, hurry, queue_study, state, working
from tests.support.small_dicom import ROOT
from tests.support.waiting import wait_until


@pytest.fixture
def work(store: StudyStore, spool: Spool) -> Recorded:
    return Recorded(store, spool)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


def test_a_study_that_is_gone_leaves_a_trace_and_can_be_tried_again(
    database_url: str, work: Recorded, pool: Pool
) -> None:
    def gone() -> None:
        raise StudyGoneError("no such study")

    work.on_fetch = gone
    work.store.announce("orthanc", "abc", study_uid=STUDY, instances=3)
    with working(database_url, work):
        wait_until(lambda: fetch_state(work.store) is FetchState.FAILED, "failed fetch")
        assert work.count("fetch") == 1
        (told,) = work.store.troubled_fetches()
        assert (told.last_error, told.study_uid, told.instances) == ("no such study", STUDY, 3)
        assert any(e.event == "study.fetch_failed" for e in trail(pool, STUDY))
        work.on_fetch = lambda: None
        assert work.store.retry_fetch("orthanc", "abc")
        wait_until(lambda: fetch_state(work.store) is FetchState.FETCHED, "fetch")
    assert work.store.troubled_fetches() == []
    assert work.store.announce("orthanc", "abc")


@pytest.mark.parametrize("error", [ArchiveRefusedError("401"), OSError(28, "No space left on device")])
def test_a_fetch_waits_for_a_password_or_for_room(
    database_url: str, work: Recorded, error: Exception
) -> None:
    def refuse_often() -> None:
        if work.count("fetch") <= tasks.MAX_STARTS + 2:
            raise error

    work.on_fetch = refuse_often
    work.store.announce("orthanc", "abc")
    with working(database_url, work):
        wait_until(lambda: work.store.troubled_fetches() != [], "trouble that can be seen")

        def pressed_until_fetched() -> bool:
            work.store.retry_fetch("orthanc", "abc")
            return fetch_state(work.store) is FetchState.FETCHED

        wait_until(pressed_until_fetched, "fetch")
    found = work.store.fetch("orthanc", "abc")
    assert found is not None
    assert (found.attempts, found.last_error) == (tasks.MAX_STARTS + 3, None)


def test_what_is_announced_while_it_is_fetched_is_fetched_once_more(
    database_url: str, work: Recorded
) -> None:
    def announce_and_fail() -> None:
        if work.count("fetch") == 1:
            assert work.store.announce("orthanc", "abc")
            assert work.store.announce("orthanc", "abc")
            raise ArchiveUnavailableError("away for a moment")
        if work.count("fetch") == 2:
            assert work.store.announce("orthanc", "abc")

    work.on_fetch = announce_and_fail
    work.store.announce("orthanc", "abc")
    with working(database_url, work):
        wait_until(lambda: fetch_state(work.store) is FetchState.FETCHED, "fetch")
        queue_study(work.store, work.spool)
        wait_until(lambda: state(work.store) is StudyState.REPORTED, "report")
    assert work.count("fetch") == 3


def test_a_job_that_cannot_be_put_back_does_not_keep_the_others(
    database_url: str, work: Recorded, pool: Pool
) -> None:
    poison = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, status, args)
    VALUES ('elsewhere', 'other', 'a', 'q', 'doing', '{}'), ('elsewhere', 'other', 'a', 'q', 'todo', '{}')
    """
    with transaction(pool) as connection:
        connection.execute(poison)
    queue_study(work.store, work.spool)
    with transaction(pool) as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = 'process_study'")
    with working(database_url, work):
        wait_until(lambda: state(work.store) is StudyState.REPORTED, "report")


def test_a_long_outage_uses_up_no_tries_of_anything_else(database_url: str, work: Recorded) -> None:
    def many_ends() -> None:
        count = work.count("process")
        if count <= tasks.MAX_STARTS + 3:
            raise StorageFullError("no room left")
        if count <= tasks.MAX_STARTS + 5:
            raise ValueError("odd, twice")

    work.on_process = many_ends
    queue_study(work.store, work.spool)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "LONGEST_PAUSE", 0.05)
        with working(database_url, work):
            wait_until(lambda: state(work.store) is StudyState.REPORTED, "report", seconds=40)
    assert work.count("process") == tasks.MAX_STARTS + 6


def test_a_dead_archive_holds_up_neither_studies_nor_other_archives(
    database_url: str, work: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "REST_SECONDS", 60.0)
    monkeypatch.setattr(gate, "FIRST_REST_SECONDS", 60.0)
    asked: list[str] = []
    given_up = threading.Event()

    def time_out() -> None:
        destination = work.delivering
        asked.append(destination)
        if destination == "dead":
            assert given_up.wait(60)
            raise ArchiveUnavailableError("nobody answers")

    work.on_deliver = time_out
    work.destinations = ["dead"]
    for number in range(2, 8):
        queue_study(work.store, work.spool, number)
    with working(database_url, work):
        wait_until(lambda: "dead" in asked, "first try")
        wait_until(lambda: state(work.store, f"{ROOT}.7") is StudyState.REPORTED, "reports meanwhile")
        given_up.set()
        work.destinations = ["pacs"]
        queue_study(work.store, work.spool)
        wait_until(
            lambda: [d.state for d in work.store.deliveries(STUDY)] == [DeliveryState.DELIVERED], "delivery"
        )
        # Those that had begun when the first one failed; the others stayed away.
        assert asked.count("dead") <= 2
