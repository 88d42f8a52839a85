"""What tests of the store do before they come to their point."""

from __future__ import annotations

from dicom_node.records import Presence, StoredReport
from dicom_node.spool import Spool
from dicom_node.store.database import Pool, transaction
from dicom_node.store.states import Finished, Job
from dicom_node.store.studies import StudyStore
from tests.support.small_dicom import ROOT, instance_of, make_dataset
from tests.support.studies import assessment, finding

STUDY = f"{ROOT}.1"


def add(store: StudyStore, spool: Spool, *numbers: int, study: int = 1) -> None:
    for number in numbers:
        instance = instance_of(make_dataset(study, number), spool.root)
        store.add_instance(instance, origin=None, calling_ae="TEST")


def begin(store: StudyStore, study: str = STUDY) -> Job:
    job = store.begin(study)
    assert job is not None
    return job


def report_for(job: Job, spool: Spool, suffix: str = "") -> StoredReport:
    uid = f"{job.study_uid}.99.{job.revision}{suffix}"
    return StoredReport(
        sop_instance_uid=uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.88.34",
        series_uid=f"{job.study_uid}.99",
        study_uid=job.study_uid,
        path=spool.root / "reports" / f"{uid}.dcm",
        size=10,
        sha256="00" * 32,
    )


def queue(pool: Pool) -> list[tuple[str, dict[str, object]]]:
    with transaction(pool) as connection:
        rows = connection.execute("SELECT task_name, args FROM procrastinate_jobs ORDER BY id").fetchall()
    return [(str(name), args) for name, args in rows]


def report_study(store: StudyStore, spool: Spool, *destinations: str) -> StoredReport:
    job = begin(store)
    report = report_for(job, spool)
    found = assessment(STUDY, finding("Pneumonia", "233604007", 0.83, Presence.PRESENT))
    assert store.finish(job, found, report, destinations) is Finished.STORED
    return report
