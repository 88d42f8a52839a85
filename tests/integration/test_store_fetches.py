"""Fetches, deliveries and failures on a real PostgreSQL: what is waited for, owed again, counted."""

from __future__ import annotations

from dicom_node.spool import Spool
from dicom_node.store.database import Pool, transaction
from dicom_node.store.states import DeliveredAs, DeliveryState, FetchState
from dicom_node.store.studies import StudyStore
from tests.support.small_dicom import ROOT, instance_of, make_dataset
from tests.support.store_steps import STUDY, add, begin, queue, report_for, report_study
from tests.support.studies import assessment


def test_an_announcement_is_queued_once_while_it_waits(store: StudyStore, pool: Pool) -> None:
    assert store.announce("orthanc", "abc", study_uid=STUDY, instances=3)
    assert not store.announce("orthanc", "abc")
    assert store.announce("orthanc", "def")
    assert len(queue(pool)) == 2
    (found,) = [fetch for fetch in store.fetches() if fetch.resource_id == "abc"]
    assert (found.study_uid, found.instances, found.state) == (STUDY, 3, FetchState.WAITING)
    assert store.fetches(state=FetchState.FETCHED) == []


def run_fetch(pool: Pool) -> None:
    """As the worker does: the job is running, and no longer waiting."""
    with transaction(pool) as connection:
        sql = "UPDATE procrastinate_jobs SET status = 'doing' WHERE task_name = 'fetch_study'"
        connection.execute(sql)


def test_a_node_killed_over_a_fetch_that_was_announced_again_can_start(store: StudyStore, pool: Pool) -> None:
    store.announce("orthanc", "abc")
    store.fetch_begun("orthanc", "abc")
    run_fetch(pool)
    assert store.announce("orthanc", "abc")
    store.recover(alone=True)
    with transaction(pool) as connection:
        rows = connection.execute("SELECT status, attempts FROM procrastinate_jobs").fetchall()
    assert rows == [("todo", 1)]


def test_one_job_that_cannot_be_put_back_does_not_keep_a_node_from_starting(
    store: StudyStore, spool: Spool, pool: Pool
) -> None:
    poison = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, queueing_lock, status, args)
    VALUES ('elsewhere', 'other', 'q', 'doing', '{}'), ('elsewhere', 'other', 'q', 'todo', '{}')
    """
    add(store, spool, 1)
    store.close_quiet(0)
    begin(store)
    with transaction(pool) as connection:
        connection.execute("UPDATE procrastinate_jobs SET status = 'doing'")
        connection.execute(poison)
    assert store.recover(alone=True) == []
    with transaction(pool) as connection:
        sql = "SELECT status FROM procrastinate_jobs WHERE task_name = 'process_study'"
        assert connection.execute(sql).fetchall() == [("todo",)]


def test_a_fetch_whose_job_is_gone_gets_another(store: StudyStore, pool: Pool) -> None:
    store.announce("orthanc", "abc")
    store.fetch_begun("orthanc", "abc")
    with transaction(pool) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")
    store.recover(alone=False)
    store.recover(alone=False)
    assert queue(pool) == [("fetch_study", {"archive": "orthanc", "resource_id": "abc"})]


def test_a_study_is_not_closed_while_it_is_fetched(store: StudyStore, spool: Spool, pool: Pool) -> None:
    store.announce("orthanc", "abc", study_uid=STUDY)
    store.fetch_begun("orthanc", "abc")
    add(store, spool, 1)
    add(store, spool, 1, study=2)
    assert store.close_quiet(0) == [f"{ROOT}.2"]
    assert store.next_quiet(0) is None  # or the watch would ask without a pause
    store.fetch_failed("orthanc", "abc", "the archive is down", gave_up=False)
    assert store.close_quiet(0) == []
    with transaction(pool) as connection:
        connection.execute("UPDATE fetches SET failing_since = now() - interval '16 minutes'")
    assert store.next_quiet(0) is not None
    store.announce("orthanc", "abc")
    assert store.close_quiet(0) == []
    store.fetch_begun("orthanc", "abc")
    store.fetch_succeeded("orthanc", "abc")
    assert store.close_quiet(0) == [STUDY]


def test_an_archive_that_sends_a_reported_study_again_gets_its_report_again(
    store: StudyStore, spool: Spool, pool: Pool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    uid = report_study(store, spool, "orthanc").sop_instance_uid
    store.delivery_succeeded(uid, "orthanc")
    before = [name for name, _ in queue(pool)].count("deliver_report")
    for archive in ("orthanc", "second"):
        store.announce(archive, "abc", study_uid=STUDY)
        store.fetch_begun(archive, "abc")
        store.add_instance(instance_of(make_dataset(1, 1), spool.root), origin=archive, calling_ae=None)
        store.fetch_succeeded(archive, "abc")
    assert [(d.destination, d.state) for d in store.deliveries(STUDY)] == [
        ("orthanc", DeliveryState.PENDING),
        ("second", DeliveryState.PENDING),
    ]
    assert [name for name, _ in queue(pool)].count("deliver_report") == before + 2


def test_an_archive_that_a_study_was_fetched_from_meanwhile_gets_the_report_too(
    store: StudyStore, spool: Spool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    job = begin(store)
    store.announce("orthanc", "abc", study_uid=STUDY)
    store.fetch_begun("orthanc", "abc")
    store.fetch_succeeded("orthanc", "abc")
    store.finish(job, assessment(STUDY), report_for(job, spool), ["pacs"])
    assert [d.destination for d in store.deliveries(STUDY)] == ["orthanc", "pacs"]


def test_an_older_report_that_did_not_get_there_gives_way(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    first = report_study(store, spool, "pacs", "elsewhere")
    add(store, spool, 2)
    store.close_quiet(0)
    second = report_study(store, spool, "pacs")
    assert [(d.report_uid, d.destination, d.state) for d in store.deliveries(STUDY)] == [
        (first.sop_instance_uid, "elsewhere", DeliveryState.PENDING),
        (first.sop_instance_uid, "pacs", DeliveryState.SUPERSEDED),
        (second.sop_instance_uid, "pacs", DeliveryState.PENDING),
    ]
    assert store.is_superseded(first.sop_instance_uid, "pacs")
    assert not store.is_superseded(second.sop_instance_uid, "pacs")
    store.delivery_failed(first.sop_instance_uid, "pacs", "late news")
    assert store.is_superseded(first.sop_instance_uid, "pacs")


def test_the_predecessor_is_what_the_archive_was_given(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    first = report_study(store, spool, "pacs")
    other = DeliveredAs("1.2.3.4", "1.2.840.10008.5.1.4.1.1.88.33")
    store.delivery_succeeded(first.sop_instance_uid, "pacs", other)
    add(store, spool, 2)
    store.close_quiet(0)
    (named,) = begin(store).predecessors
    assert (named.sop_instance_uid, named.sop_class_uid) == (other.sop_instance_uid, other.sop_class_uid)
    assert (named.series_uid, named.path) == (first.series_uid, first.path)


def test_failures_are_counted_by_kind_and_apart_from_crashes(store: StudyStore, pool: Pool) -> None:
    store.announce("orthanc", "abc")
    with transaction(pool) as connection:
        ((job,),) = connection.execute("SELECT id FROM procrastinate_jobs").fetchall()
    assert store.crashes(job, 3) == 3
    assert [store.count_failure(job, attempts, patient=True) for attempts in (3, 4, 5)] == [1, 2, 3]
    assert store.count_failure(job, 6, patient=False) == 1
    assert store.crashes(job, 7) == 0
    assert store.crashes(job, 9) == 2
