"""One study through the pipeline: the real store, spool and bundle, and a real C-STORE peer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, EnhancedSRStorage

from dicom_node.archive.dimse import CStoreArchive
from dicom_node.archive.protocol import ReportArchive, SopClassRefusedError
from dicom_node.demo import SAMPLES
from dicom_node.engine import Engine
from dicom_node.errors import ArchiveRefusedError
from dicom_node.intake import Intake
from dicom_node.pipeline import Pipeline, assess_study, source_headers, this_device, write_report
from dicom_node.pixels.headers import walk
from dicom_node.records import Instance, Status
from dicom_node.spool import Spool
from dicom_node.store.states import Added, DeliveredAs, StudyState
from dicom_node.store.studies import StudyStore
from tests.support.bundles import TINY
from tests.support.dcmtk import running_store_scp

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DEVICE = this_device("test-installation", "TEST")


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(TINY)


def sample(name: str) -> list[Instance]:
    instances, not_dicom = walk([SAMPLES / name])
    assert instances
    assert not not_dicom
    return instances


def receive(name: str, intake: Intake, store: StudyStore) -> str:
    """Bring a sample study in through the corridor and close it; its UID."""
    for path in sorted((SAMPLES / name).glob("*.dcm")):
        accepted = intake.accept_file(path)
    uid = accepted.instance.study_uid
    assert store.complete_now(uid)
    return uid


@pytest.fixture
def intake(spool: Spool, store: StudyStore) -> Intake:
    return Intake(spool, store)


def pipeline_over(
    engine: Engine,
    store: StudyStore,
    spool: Spool,
    archives: Sequence[ReportArchive] = (),
) -> Pipeline:
    scratch = spool.root / "scratch"
    scratch.mkdir(exist_ok=True)
    return Pipeline(
        assessor=engine,
        ledger=store,
        shelf=spool,
        door=Intake(spool, store),
        archives={archive.name: archive for archive in archives},
        deliver_to=[archive.name for archive in archives],
        device=DEVICE,
        scratch=scratch,
    )


@pytest.mark.parametrize("name", ["xray", "ct", "retina", "ecg", "pathology"])
def test_the_same_study_gives_the_same_report(engine: Engine, name: str) -> None:
    instances = sample(name)
    reports = []
    for order in (instances, list(reversed(instances))):
        assessment = assess_study(engine, order[0].study_uid, order)
        assert assessment.status is Status.REPORTED
        assert assessment.modality == name
        assert set(assessment.seconds) == {"decode", "encode", "assess"}
        reports.append(write_report(assessment, order, created=CREATED, predecessors=(), device=DEVICE))
    assert reports[0] == reports[1]


def test_only_headers_that_the_report_tells_from_are_read(engine: Engine) -> None:
    instances = sample("ct")
    assessment = assess_study(engine, instances[0].study_uid, instances)
    read = {str(header.SOPInstanceUID) for header in source_headers(assessment, instances)}
    evidence = {e.source.sop_instance_uid for f in assessment.findings for e in f.evidence}
    assert evidence <= read
    assert len(read) <= len(evidence) + len(assessment.views)


def test_a_study_is_reported_once(engine: Engine, intake: Intake, store: StudyStore, spool: Spool) -> None:
    uid = receive("xray", intake, store)
    pipeline = pipeline_over(engine, store, spool)
    pipeline.process_study(uid, 1)
    record = store.study(uid)
    assert record is not None
    assert record.state is StudyState.REPORTED
    before = store.reports(uid)
    assert [report.path.is_file() for report in before] == [True]

    pipeline.process_study(uid, 1)
    assert store.reports(uid) == before
    assert dcmread(before[0].path).SOPClassUID == Comprehensive3DSRStorage


def test_a_report_that_comes_back_calls_forth_no_other(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool
) -> None:
    uid = receive("xray", intake, store)
    pipeline = pipeline_over(engine, store, spool)
    pipeline.process_study(uid, 1)
    (report,) = store.reports(uid)
    assert intake.accept_file(report.path).added is Added.NEW
    record = store.study(uid)
    assert record is not None
    assert (record.state, record.revision, record.instances) == (StudyState.REPORTED, 1, 2)
    assert store.close_quiet(0) == []


def test_the_identity_of_a_report_does_not_depend_on_documents(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool
) -> None:
    uid = receive("xray", intake, store)
    pipeline_over(engine, store, spool).process_study(uid, 1)
    (report,) = store.reports(uid)
    intake.accept_file(report.path)
    instances = store.instances(uid)
    assert len(instances) == 2
    assessment = assess_study(engine, uid, instances)
    again = write_report(assessment, instances, created=CREATED, predecessors=(), device=DEVICE)
    assert again.sop_instance_uid == report.sop_instance_uid


@pytest.mark.peer
def test_a_study_that_grew_gets_a_report_that_names_the_earlier_one(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool, tmp_path: Path
) -> None:
    with running_store_scp(tmp_path / "peer") as peer, closing(archive_at(peer.port)) as archive:
        pipeline = pipeline_over(engine, store, spool, [archive])
        paths = sorted((SAMPLES / "ct").glob("*.dcm"))
        uid = ""
        for revision, batch in enumerate((paths[:3], paths[3:]), start=1):
            for path in batch:
                uid = intake.accept_file(path).instance.study_uid
            assert store.complete_now(uid)
            pipeline.process_study(uid, revision)
            report = store.reports(uid)[-1]
            pipeline.deliver_report(report.sop_instance_uid, archive.name)
            store.delivery_succeeded(report.sop_instance_uid, archive.name)
    first, second = store.reports(uid)
    assert first.series_uid == second.series_uid
    assert [dcmread(report.path).InstanceNumber for report in (first, second)] == [1, 2]
    predecessors = dcmread(second.path).PredecessorDocumentsSequence
    named = predecessors[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == first.sop_instance_uid


def archive_at(port: int) -> CStoreArchive:
    return CStoreArchive(
        "peer", "127.0.0.1", port, ae_title="STORESCP", calling_ae_title="M3BIND", timeout=10
    )


@pytest.mark.peer
@pytest.mark.parametrize("taken", [ComprehensiveSRStorage, EnhancedSRStorage])
def test_a_peer_that_refuses_comprehensive_3d_gets_another_form(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool, tmp_path: Path, taken: str
) -> None:
    uid = receive("retina", intake, store)
    with (
        running_store_scp(tmp_path / "peer", sop_classes=[taken]) as peer,
        closing(archive_at(peer.port)) as archive,
    ):
        pipeline = pipeline_over(engine, store, spool, [archive])
        pipeline.process_study(uid, 1)
        sent = pipeline.deliver_report(store.reports(uid)[0].sop_instance_uid, archive.name)
        received = [dcmread(path, force=True) for path in peer.files()]
    assert [dataset.SOPClassUID for dataset in received] == [taken]
    assert sent == DeliveredAs(received[0].SOPInstanceUID, taken)


@pytest.mark.peer
def test_a_peer_that_takes_no_report_at_all_is_told_as_refusing(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool, tmp_path: Path
) -> None:
    uid = receive("retina", intake, store)
    ct_only = ["1.2.840.10008.5.1.4.1.1.2"]
    with (
        running_store_scp(tmp_path / "peer", sop_classes=ct_only) as peer,
        closing(archive_at(peer.port)) as archive,
    ):
        pipeline = pipeline_over(engine, store, spool, [archive])
        pipeline.process_study(uid, 1)
        with pytest.raises(SopClassRefusedError):
            pipeline.deliver_report(store.reports(uid)[0].sop_instance_uid, archive.name)


def test_an_archive_that_is_gone_from_the_configuration_is_named(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool
) -> None:
    uid = receive("ecg", intake, store)
    pipeline = pipeline_over(engine, store, spool)
    pipeline.process_study(uid, 1)
    with pytest.raises(ArchiveRefusedError, match="'old-pacs'"):
        pipeline.deliver_report(store.reports(uid)[0].sop_instance_uid, "old-pacs")


@pytest.mark.peer
def test_a_report_that_a_later_one_replaces_is_not_sent(
    engine: Engine, intake: Intake, store: StudyStore, spool: Spool, tmp_path: Path
) -> None:
    with running_store_scp(tmp_path / "peer") as peer, closing(archive_at(peer.port)) as archive:
        pipeline = pipeline_over(engine, store, spool, [archive])
        paths = sorted((SAMPLES / "ct").glob("*.dcm"))
        for revision, batch in enumerate((paths[:3], paths[3:]), start=1):
            for path in batch:
                uid = intake.accept_file(path).instance.study_uid
            assert store.complete_now(uid)
            pipeline.process_study(uid, revision)
        sent = [
            pipeline.deliver_report(report.sop_instance_uid, archive.name) for report in store.reports(uid)
        ]
        received = [dcmread(path, force=True).SOPInstanceUID for path in peer.files()]
    second = store.reports(uid)[1]
    assert sent == [None, DeliveredAs(second.sop_instance_uid, second.sop_class_uid)]
    assert received == [second.sop_instance_uid]
