"""The store on a real PostgreSQL: states, revisions, reports, deliveries."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from dicom_node.errors import DatabaseUnavailableError, InstanceConflictError, ReportError
from dicom_node.records import Status
from dicom_node.spool import Spool
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, open_pool, transaction
from dicom_node.store.states import Added, DeliveryState, Finished, StudyState, instance_set_digest
from dicom_node.store.studies import StudyStore
from tests.support.postgres import Databases
from tests.support.small_dicom import ROOT, instance_of, make_dataset
from tests.support.store_steps import STUDY, add, begin, queue, report_for, report_study
from tests.support.studies import assessment


def test_a_new_instance_makes_a_study_that_is_being_received(store: StudyStore, spool: Spool) -> None:
    instance = instance_of(make_dataset(1, 1), spool.root)
    assert store.add_instance(instance, origin="orthanc", calling_ae="MODALITY") is Added.NEW
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.revision, record.origin) == (StudyState.RECEIVING, 0, "orthanc")
    assert record.instances == 1
    assert store.instances(STUDY) == [instance]


def test_the_same_instance_again_changes_nothing(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    before = store.study(STUDY)
    instance = instance_of(make_dataset(1, 1), spool.root)
    assert store.add_instance(instance, origin=None, calling_ae="OTHER") is Added.ALREADY_THERE
    assert store.study(STUDY) == before


def test_an_archive_that_resends_what_came_unnamed_becomes_the_origin(
    store: StudyStore, spool: Spool
) -> None:
    add(store, spool, 1)
    store.add_instance(instance_of(make_dataset(1, 1), spool.root), origin="orthanc", calling_ae=None)
    record = store.study(STUDY)
    assert record is not None
    assert record.origin == "orthanc"


def test_other_content_under_the_same_uid_is_a_conflict(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    other = instance_of(make_dataset(1, 1), spool.root, sha256="ff" * 32)
    with pytest.raises(InstanceConflictError):
        store.add_instance(other, origin=None, calling_ae=None)
    assert [instance.sha256 for instance in store.instances(STUDY)] != [other.sha256]


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.88.59", "1.2.840.10008.5.1.4.1.1.11.1"])
def test_a_document_is_kept_and_changes_nothing(store: StudyStore, spool: Spool, sop_class: str) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    job = begin(store)
    document = replace(instance_of(make_dataset(1, 2), spool.root), sop_class_uid=sop_class)
    assert store.add_instance(document, origin="orthanc", calling_ae=None) is Added.NEW
    report_study(store, spool, "pacs")
    late = replace(instance_of(make_dataset(1, 3), spool.root), sop_class_uid=sop_class)
    before = store.study(STUDY)
    assert store.add_instance(late, origin=None, calling_ae=None) is Added.NEW
    after = store.study(STUDY)
    assert before is not None
    assert after == replace(before, instances=3)
    assert after.state is StudyState.REPORTED
    assert instance_set_digest(store.instances(STUDY)) == job.instance_set
    assert store.close_quiet(0) == []


def test_a_study_of_documents_alone_is_looked_at(store: StudyStore, spool: Spool) -> None:
    document = replace(
        instance_of(make_dataset(1, 1), spool.root), sop_class_uid="1.2.840.10008.5.1.4.1.1.88.11"
    )
    store.add_instance(document, origin=None, calling_ae=None)
    assert store.close_quiet(0) == [STUDY]


def test_the_same_instance_from_many_threads_is_new_once(store: StudyStore, spool: Spool) -> None:
    instance = instance_of(make_dataset(1, 1), spool.root)
    gate, outcomes = threading.Barrier(4), []

    def send() -> None:
        gate.wait()
        outcomes.append(store.add_instance(instance, origin=None, calling_ae=None))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [Added.ALREADY_THERE] * 3 + [Added.NEW]


def test_a_quiet_study_is_queued_with_its_job_once(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1, 2)
    assert store.close_quiet(3600) == []
    assert store.close_quiet(0) == [STUDY]
    assert store.close_quiet(0) == []
    assert queue(pool) == [("process_study", {"study_uid": STUDY, "revision": 1})]
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.revision) == (StudyState.QUEUED, 1)
    assert record.job_created_at is not None


def test_a_study_told_to_be_complete_does_not_wait(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    assert store.complete_now(STUDY)
    assert not store.complete_now(STUDY)
    assert not store.complete_now("1.2.3")


def test_a_job_holds_the_instances_in_order_and_can_be_taken_up_again(
    store: StudyStore, spool: Spool
) -> None:
    add(store, spool, 2, 1)
    store.close_quiet(0)
    job = begin(store)
    assert [i.sop_instance_uid for i in job.instances] == [f"{STUDY}.1.1", f"{STUDY}.1.2"]
    assert store.begin(STUDY, revision=1) == job
    assert store.begin(STUDY, revision=2) is None
    assert store.begin("1.2.3") is None


def test_finishing_keeps_findings_vectors_report_and_owes_deliveries(
    store: StudyStore, spool: Spool, pool: Pool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    report = report_study(store, spool, "pacs", "orthanc", "pacs")
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.report_uid) == (StudyState.REPORTED, report.sop_instance_uid)
    told = store.assessment(STUDY)
    assert told is not None
    assert told["findings"][0]["name"] == "Pneumonia"
    assert store.report(report.sop_instance_uid) == report
    owed = store.deliveries(STUDY)
    assert [(d.destination, d.state) for d in owed] == [
        ("orthanc", DeliveryState.PENDING),
        ("pacs", DeliveryState.PENDING),
    ]
    assert [name for name, _ in queue(pool)].count("deliver_report") == 2
    with transaction(pool) as connection:
        kept = connection.execute("SELECT embedding FROM search_rows WHERE view IS NOT NULL").fetchall()
        scored = connection.execute("SELECT finding_id, probability FROM findings").fetchall()
    assert [vector.to_list() for (vector,) in kept] == [[0.5, 0.5, 0.5, 0.5]]
    assert scored == [("xray.pneumonia", pytest.approx(0.83))]


def test_finishing_twice_makes_no_second_report_or_delivery(
    store: StudyStore, spool: Spool, pool: Pool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    job = begin(store)
    found = assessment(STUDY)
    assert store.finish(job, found, report_for(job, spool), ["pacs"]) is Finished.STORED
    assert store.finish(job, found, report_for(job, spool, ".7"), ["pacs"]) is Finished.REPEATED
    assert len(store.reports(STUDY)) == 1
    assert [name for name, _ in queue(pool)].count("deliver_report") == 1


def test_a_result_that_a_new_instance_has_overtaken_is_dropped(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    job = begin(store)
    add(store, spool, 2)
    assert store.finish(job, assessment(STUDY), report_for(job, spool), ["pacs"]) is Finished.SUPERSEDED
    store.close_quiet(0)
    assert store.finish(job, assessment(STUDY), report_for(job, spool), ["pacs"]) is Finished.SUPERSEDED
    assert store.reports(STUDY) == []
    assert store.begin(STUDY, revision=1) is None
    again = begin(store)
    assert (again.revision, len(again.instances)) == (2, 2)


def test_a_finished_study_that_grows_is_reported_again_with_its_predecessor(
    store: StudyStore, spool: Spool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    first = report_study(store, spool, "pacs")
    store.delivery_succeeded(first.sop_instance_uid, "pacs")
    add(store, spool, 2)
    record = store.study(STUDY)
    assert record is not None
    assert record.state is StudyState.RECEIVING
    store.close_quiet(0)
    job = begin(store)
    assert job.revision == 2
    assert job.predecessors == (first,)
    assert store.finish(job, assessment(STUDY), report_for(job, spool), ["pacs"]) is Finished.STORED
    assert len(store.reports(STUDY)) == 2


def test_a_report_that_never_reached_an_archive_is_no_predecessor(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    report_study(store, spool, "pacs")
    add(store, spool, 2)
    store.close_quiet(0)
    assert begin(store).predecessors == ()


@pytest.mark.parametrize(
    ("status", "state"),
    [(Status.OUT_OF_SCOPE, StudyState.OUT_OF_SCOPE), (Status.REFUSED, StudyState.REFUSED)],
)
def test_a_study_without_report_keeps_its_reason(
    store: StudyStore, spool: Spool, status: Status, state: StudyState
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    found = replace(assessment(STUDY), status=status, reason="a foot, not a chest")
    assert store.finish(begin(store), found, None, ["pacs"]) is Finished.STORED
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.reason) == (state, "a foot, not a chest")
    assert store.deliveries(STUDY) == []


def test_a_report_and_its_status_must_go_together(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    with pytest.raises(ReportError):
        store.finish(begin(store), assessment(STUDY), None, [])


def test_a_failed_study_can_be_retried_at_a_new_revision(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    job = begin(store)
    assert not store.retry(STUDY)
    assert store.fail(STUDY, job.revision, "the encoder is broken")
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.reason) == (StudyState.FAILED, "the encoder is broken")
    assert store.begin(STUDY) is None
    assert store.retry(STUDY)
    assert not store.fail(STUDY, job.revision, "late news of the first try")
    assert begin(store).revision == 2


def test_deliveries_tell_their_tries_and_can_be_retried(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    uid = report_study(store, spool, "pacs").sop_instance_uid
    store.delivery_failed(uid, "pacs", "nobody answers")
    assert [(d.state, d.attempts, d.last_error) for d in store.deliveries(STUDY)] == [
        (DeliveryState.PENDING, 1, "nobody answers")
    ]
    assert not store.retry_delivery(uid, "pacs")
    store.delivery_failed(uid, "pacs", "refused", gave_up=True)
    assert store.deliveries(STUDY)[0].state is DeliveryState.FAILED
    assert store.retry_delivery(uid, "pacs")
    assert [name for name, _ in queue(pool)].count("deliver_report") == 2
    store.delivery_succeeded(uid, "pacs")
    store.delivery_succeeded(uid, "pacs")
    done = store.deliveries(STUDY)[0]
    assert (done.state, done.attempts, done.last_error) == (DeliveryState.DELIVERED, 3, None)
    assert done.delivered_at is not None


def test_lists_are_newest_first_and_can_be_continued(store: StudyStore, spool: Spool) -> None:
    for study in (1, 2, 3):
        add(store, spool, 1, study=study)
    store.complete_now(f"{ROOT}.2")
    assert [r.study_uid[-1] for r in store.list_studies()] == ["3", "2", "1"]
    assert [r.study_uid[-1] for r in store.list_studies(state=StudyState.QUEUED)] == ["2"]
    newest = store.list_studies(limit=1)
    rest = store.list_studies(before=newest[0].last_received)
    assert [r.study_uid[-1] for r in rest] == ["2", "1"]
    counts = store.counts()
    assert (counts[StudyState.RECEIVING], counts[StudyState.QUEUED], counts[StudyState.FAILED]) == (2, 1, 0)


def test_what_a_killed_node_was_doing_is_put_back_at_once(
    store: StudyStore, spool: Spool, pool: Pool
) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    with transaction(pool) as connection:
        worker = connection.execute("SELECT * FROM procrastinate_register_worker_v1()").fetchone()
        assert worker is not None
        connection.execute("SELECT procrastinate_fetch_job_v2(NULL, %s)", (worker[0],))
    begin(store)
    assert store.recover(alone=False) == []
    assert store.recover(alone=True) == []
    with transaction(pool) as connection:
        rows = connection.execute("SELECT status, attempts FROM procrastinate_jobs").fetchall()
    assert rows == [("todo", 1)]


def test_a_study_whose_job_is_gone_gets_another(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    begin(store)
    with transaction(pool) as connection:
        connection.execute("DELETE FROM procrastinate_jobs")
    assert store.recover(alone=False) == [STUDY]
    assert queue(pool) == [("process_study", {"study_uid": STUDY, "revision": 1})]


def test_every_step_leaves_a_trace(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1)
    store.close_quiet(0)
    uid = report_study(store, spool, "pacs").sop_instance_uid
    store.delivery_succeeded(uid, "pacs")
    entries = trail(pool, STUDY)
    assert [entry.event for entry in entries] == ["report.delivered", "study.reported", "study.queued"]
    assert entries[0].detail == {"report_uid": uid, "destination": "pacs", "attempts": 1}


def test_a_job_exists_exactly_when_its_transaction_does(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1)
    with transaction(pool) as connection:
        connection.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no audit today'; END $$"
        )
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON audit FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    with pytest.raises(psycopg.errors.RaiseException):
        store.close_quiet(0)
    assert queue(pool) == []
    record = store.study(STUDY)
    assert record is not None
    assert (record.state, record.revision) == (StudyState.RECEIVING, 0)


def test_a_database_that_goes_away_is_told_as_such(databases: Databases, spool: Spool) -> None:
    url = databases.create()
    pool = open_pool(url, size=1, wait_seconds=0.5)
    try:
        databases.drop(url)
        with pytest.raises(DatabaseUnavailableError):
            StudyStore(pool, spool.root).counts()
    finally:
        pool.close()


def test_it_tells_when_the_next_study_will_be_quiet(store: StudyStore, spool: Spool) -> None:
    assert store.next_quiet(5.0) is None
    store.add_instance(instance_of(make_dataset(1, 1), spool.root), origin=None, calling_ae=None)
    due = store.next_quiet(5.0)
    assert due is not None
    assert 0 < due <= 5.0
    overdue = store.next_quiet(0.0)
    assert overdue is not None
    assert overdue <= 0


def test_a_study_with_an_object_on_the_wire_is_not_quiet(store: StudyStore, spool: Spool, pool: Pool) -> None:
    add(store, spool, 1)
    with transaction(pool) as connection:
        connection.execute("UPDATE studies SET last_received = now() - interval '10 s'")
    store.touch({STUDY, "1.2.3"}, 1.25)
    assert store.close_quiet(5.0) == []
    store.touch({STUDY}, 1.25)
    with transaction(pool) as connection:
        connection.execute("UPDATE studies SET last_received = now() - interval '10 s'")
    assert store.close_quiet(5.0) == [STUDY]


def test_it_tells_which_instances_it_knows(store: StudyStore, spool: Spool) -> None:
    add(store, spool, 1)
    assert store.knows(f"{STUDY}.1.1")
    assert not store.knows(f"{STUDY}.1.2")
