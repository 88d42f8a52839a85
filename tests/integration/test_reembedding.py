"""A change of bundle: the index is brought over in the background, and answers all the while."""

from __future__ import annotations

import pytest

from dicom_node.errors import UnreadableObjectError
from dicom_node.records import BundleIdentity
from dicom_node.spool import Spool
from dicom_node.store import reembedding
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, transaction
from dicom_node.store.search_facts import Filters
from dicom_node.store.search_index import SearchIndex
from dicom_node.store.states import StudyState
from dicom_node.store.studies import StudyStore
from tests.support.recorded_work import Recorded, hurry, queue_study, state, working
from tests.support.small_dicom import ROOT
from tests.support.studies import BUNDLE
from tests.support.waiting import wait_until

NEW = BundleIdentity("m3bind-mini", "0.2.0", "ee" * 32)


@pytest.fixture
def work(store: StudyStore, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> Recorded:
    hurry(monkeypatch)
    monkeypatch.setattr(reembedding, "BATCH", 2)
    return Recorded(store, spool)


def studies_of(pool: Pool, bundle: BundleIdentity) -> int:
    return sum(known.studies for known in SearchIndex(pool).coverage() if known.bundle == bundle)


def process(work: Recorded, url: str, *numbers: int) -> None:
    for number in numbers:
        queue_study(work.store, work.spool, number)
    with working(url, work):
        for number in numbers:
            uid = f"{ROOT}.{number}"
            wait_until(lambda uid=uid: state(work.store, uid) is StudyState.REPORTED, "report")


def test_all_studies_are_brought_over_batch_by_batch_without_a_new_report(
    database_url: str, pool: Pool, work: Recorded
) -> None:
    process(work, database_url, 1, 2, 3, 4, 5)
    assert studies_of(pool, BUNDLE) == 5
    assert work.store.plan_reembedding(BUNDLE) == 0
    assert work.store.plan_reembedding(NEW) == 2
    assert work.store.plan_reembedding(NEW) == 0  # that batch still waits
    assert SearchIndex(pool).count(Filters(BUNDLE.digest)) == 5  # what was there answers until then
    with working(database_url, work):
        wait_until(lambda: studies_of(pool, NEW) == 5, "the new bundle")
    assert studies_of(pool, BUNDLE) == 0
    assert work.count("process") == 5
    assert len(work.store.reports(f"{ROOT}.1")) == 1
    assert "study.embedded_again" in {entry.event for entry in trail(pool, f"{ROOT}.1")}


def test_studies_that_have_just_come_go_before_those_that_can_wait(
    database_url: str, pool: Pool, work: Recorded
) -> None:
    process(work, database_url, 1)
    work.store.plan_reembedding(NEW)
    queue_study(work.store, work.spool, 2)
    with transaction(pool) as connection:
        first = connection.execute(
            "SELECT task_name FROM procrastinate_jobs WHERE status = 'todo' AND queue_name = 'dicom-node' "
            "ORDER BY priority DESC, id"
        ).fetchone()
    assert first == ("process_study",)


def test_a_study_that_cannot_be_embedded_again_stays_with_the_old_bundle(
    database_url: str, pool: Pool, work: Recorded
) -> None:
    process(work, database_url, 1, 2, 3)

    def refuse() -> None:
        raise UnreadableObjectError("gone", "its file is gone")

    work.on_reembed = refuse
    work.store.plan_reembedding(NEW)
    with working(database_url, work):
        wait_until(
            lambda: [known.stuck for known in SearchIndex(pool).coverage(NEW)] == [3], "three given up"
        )
    assert SearchIndex(pool).count(Filters(BUNDLE.digest)) == 3
    assert work.store.plan_reembedding(NEW) == 0  # and it is left at that


def test_a_study_that_has_grown_meanwhile_is_left_to_its_own_job(
    database_url: str, pool: Pool, work: Recorded
) -> None:
    process(work, database_url, 1)
    work.store.plan_reembedding(NEW)

    def grow() -> None:
        with transaction(pool) as connection:
            connection.execute("UPDATE studies SET state = 'receiving'")

    work.on_reembed = grow
    with working(database_url, work):
        wait_until(lambda: work.count("reembed") == 1, "the job")
        wait_until(lambda: _jobs(pool) == 0, "its end")
    assert studies_of(pool, NEW) == 0


def _jobs(pool: Pool) -> int:
    with transaction(pool) as connection:
        row = connection.execute(
            "SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'reembed_study' "
            "AND status IN ('todo', 'doing')"
        ).fetchone()
    return 0 if row is None else int(row[0])
