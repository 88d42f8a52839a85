"""What the web room asks of studies, held by the store on PostgreSQL and by its double in memory alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dicom_node.records import Presence, StoredReport
from dicom_node.spool import Spool
from dicom_node.store.states import DeliveryState, FetchState, StudyState
from dicom_node.store.studies import StudyStore
from dicom_node.web.ports import Studies
from tests.support.small_dicom import ROOT, instance_of, make_dataset
from tests.support.studies import StudiesInMemory, assessment, delivery, fetch, finding, record

RECEIVING, FAILED, REPORTED = (f"{ROOT}.{n}" for n in (1, 2, 3))
REPORT = f"{REPORTED}.99.1"


def in_memory(spool: Spool) -> Studies:
    studies = StudiesInMemory()
    studies.add(record(RECEIVING, StudyState.RECEIVING, 1))
    studies.add(record(FAILED, StudyState.FAILED, 2, revision=1, reason="the disk broke"))
    studies.add(
        record(REPORTED, StudyState.REPORTED, 3, report_uid=REPORT),
        assessment(REPORTED, finding("Pneumonia", "233604007", 0.83, Presence.PRESENT)),
        delivery(REPORT, "main", DeliveryState.DELIVERED),
        delivery(REPORT, "second", DeliveryState.FAILED, last_error="A700"),
    )
    studies.reports[REPORT] = stored_report(spool)
    studies.announced = [
        fetch("gone", FetchState.FAILED, study_uid="1.2.9", last_error="no such study"),
        fetch("new", FetchState.WAITING, attempts=0),
    ]
    return studies


def on_postgresql(store: StudyStore, spool: Spool) -> Studies:
    for number in (1, 2, 3):
        instance = instance_of(make_dataset(number, 1), spool.root)
        store.add_instance(instance, origin=None, calling_ae="TEST")
    for uid in (FAILED, REPORTED):
        assert store.complete_now(uid)
    job = store.begin(REPORTED)
    assert job is not None
    found = assessment(REPORTED, finding("Pneumonia", "233604007", 0.83, Presence.PRESENT))
    store.finish(job, found, stored_report(spool), ["main", "second"])
    store.delivery_succeeded(REPORT, "main")
    store.delivery_failed(REPORT, "second", "A700", gave_up=True)
    assert store.begin(FAILED) is not None
    assert store.fail(FAILED, 1, "the disk broke")
    store.announce("main", "gone", study_uid="1.2.9")
    store.fetch_begun("main", "gone")
    store.fetch_failed("main", "gone", "no such study", gave_up=True)
    store.announce("main", "new")
    return store


def stored_report(spool: Spool) -> StoredReport:
    path = spool.root / "reports" / "sr.dcm"
    return StoredReport(
        REPORT, "1.2.840.10008.5.1.4.1.1.88.34", f"{REPORTED}.99", REPORTED, path, 10, "0" * 64
    )


@pytest.fixture(params=["memory", "postgresql"])
def studies(request: pytest.FixtureRequest, spool: Spool) -> Studies:
    if request.param == "memory":
        return in_memory(spool)
    return on_postgresql(request.getfixturevalue("store"), spool)


def test_lists_are_newest_first_and_go_on_where_they_stopped(studies: Studies) -> None:
    every = studies.list_studies()
    assert [study.study_uid for study in every] == [REPORTED, FAILED, RECEIVING]
    first = studies.list_studies(limit=2)
    rest = studies.list_studies(limit=2, before=first[-1].last_received)
    assert [study.study_uid for study in (*first, *rest)] == [REPORTED, FAILED, RECEIVING]
    assert [study.study_uid for study in studies.list_studies(state=StudyState.FAILED)] == [FAILED]


def test_counts_have_every_state(studies: Studies) -> None:
    counts = studies.counts()
    assert set(counts) == set(StudyState)
    assert {state for state, count in counts.items() if count} == {"receiving", "failed", "reported"}


def test_what_is_unknown_is_none_or_empty(studies: Studies) -> None:
    assert studies.study("1.2.3") is None
    assert studies.assessment("1.2.3") is None
    assert studies.report("1.2.3") is None
    assert list(studies.deliveries("1.2.3")) == []
    assert not studies.retry("1.2.3")
    assert not studies.complete_now("1.2.3")
    assert not studies.retry_delivery("1.2.3", "main")


def test_a_reported_study_has_assessment_report_and_deliveries(studies: Studies, spool: Spool) -> None:
    study = studies.study(REPORTED)
    assert study is not None
    assert (study.state, study.report_uid, study.instances) == (StudyState.REPORTED, REPORT, 1)
    assert study.last_received.utcoffset() is not None
    told = studies.assessment(REPORTED)
    assert told is not None
    assert [one["name"] for one in told["findings"]] == ["Pneumonia"]
    assert studies.report(REPORT) == stored_report(spool)
    states = [(one.destination, one.state, one.last_error) for one in studies.deliveries(REPORTED)]
    assert states == [("main", "delivered", None), ("second", "failed", "A700")]
    assert studies.assessment(RECEIVING) is None


def _state(studies: Studies, uid: str) -> StudyState:
    study = studies.study(uid)
    assert study is not None
    return study.state


@pytest.mark.parametrize(
    ("act", "uid"), [(lambda s, uid: s.retry(uid), FAILED), (lambda s, uid: s.complete_now(uid), RECEIVING)]
)
def test_what_can_be_queued_is_queued_once(
    studies: Studies, act: Callable[[Studies, str], bool], uid: str
) -> None:
    assert act(studies, uid)
    assert _state(studies, uid) is StudyState.QUEUED
    assert not act(studies, uid)
    assert not act(studies, REPORTED)
    assert _state(studies, REPORTED) is StudyState.REPORTED


def test_a_delivery_that_was_given_up_is_owed_again(studies: Studies) -> None:
    assert studies.retry_delivery(REPORT, "second")
    assert [one.state for one in studies.deliveries(REPORTED)] == ["delivered", "pending"]
    assert not studies.retry_delivery(REPORT, "second")
    assert not studies.retry_delivery(REPORT, "main")


def test_findings_worth_a_line_come_for_many_studies_at_once(studies: Studies) -> None:
    noticed = studies.noticed([REPORTED, FAILED, "1.2.3"])
    assert {uid: [one["name"] for one in found] for uid, found in noticed.items()} == {
        REPORTED: ["Pneumonia"]
    }


def test_a_fetch_that_was_given_up_is_seen_and_can_be_tried_again(studies: Studies) -> None:
    (troubled,) = studies.troubled_fetches()
    assert (troubled.resource_id, troubled.state, troubled.attempts) == ("gone", FetchState.FAILED, 1)
    assert (troubled.study_uid, troubled.last_error) == ("1.2.9", "no such study")
    assert {one.resource_id for one in studies.fetches()} == {"gone", "new"}
    assert [one.resource_id for one in studies.fetches(state=FetchState.FAILED)] == ["gone"]
    assert studies.retry_fetch("main", "gone")
    again = studies.fetch("main", "gone")
    assert again is not None
    assert again.state is FetchState.WAITING
    assert not studies.retry_fetch("main", "unheard-of")
    assert studies.fetch("main", "unheard-of") is None
