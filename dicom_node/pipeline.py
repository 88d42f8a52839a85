"""One study, told in readable functions: instances in, report in the archive.

    assess_study     instances -> pixels -> engine -> Assessment
    write_report     Assessment -> SR as Part 10 bytes
    Pipeline         the two, between the store, the spool and the archives: what the jobs call

The ports (`Assessor`, `Ledger`, `Shelf`, `Door`) belong to this module; node.py hands in what fulfils them.

`report.document` is imported where it is used: highdicom takes 0.3 s, which a node that starts need not wait
for. `warm_up` imports it beforehand.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Protocol

import structlog
from pydicom import Dataset, dcmread

from dicom_node.archive.protocol import OWN_MANUFACTURER, ReportArchive, SopClassRefusedError, StudySource
from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import (
    ArchiveRefusedError,
    InputError,
    InstanceConflictError,
    ReportError,
    describe,
)
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.ground import load_header
from dicom_node.pixels.select import read_study
from dicom_node.records import Assessment, BundleIdentity, Instance, Status, StoredReport, StudyRead
from dicom_node.report.context import (
    DeviceObserver,
    PriorReport,
    ReportContext,
    ReportForm,
    derived_uid,
    report_uids,
)
from dicom_node.store.documents import without_documents
from dicom_node.store.reembedding import Reembedding
from dicom_node.store.states import DeliveredAs, Finished, Job

log = structlog.get_logger(__name__)

PACKAGE = "m3bind-pacs"

FALLBACK_FORMS = (ReportForm.COMPREHENSIVE, ReportForm.ENHANCED)
"""Tried in this order where an archive refuses Comprehensive 3D SR."""


class Assessor(Protocol):
    """A loaded bundle: `engine.Engine`."""

    @property
    def identity(self) -> BundleIdentity:
        """Which bundle speaks."""

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """By modality id."""

    def assess(self, study_uid: str, read: StudyRead) -> Assessment:
        """Encode and judge one study."""


class Ledger(Protocol):
    """The store, as far as a job needs it: `store.studies.StudyStore`."""

    def begin(self, study_uid: str, revision: int | None = None) -> Job | None:
        """Take a queued study; None when there is nothing to do."""

    def finish(
        self, job: Job, assessment: Assessment, report: StoredReport | None, destinations: Sequence[str]
    ) -> Finished:
        """Keep the result, all or nothing; a repeat changes nothing."""

    def begin_reembedding(self, study_uid: str, bundle_digest: str) -> Reembedding | None:
        """What is to be embedded again; None when there is nothing to do."""

    def finish_reembedding(self, job: Reembedding, assessment: Assessment) -> bool:
        """Put what the bundle says now into the index; False where the study has grown meanwhile."""

    def report(self, report_uid: str) -> StoredReport | None:
        """A report by its SOP Instance UID."""

    def is_superseded(self, report_uid: str, destination: str) -> bool:
        """Whether a later report of the study goes to that archive instead."""


class Shelf(Protocol):
    """The spool, as far as reports go: `spool.Spool`."""

    def store_report(
        self, content: bytes, *, study_uid: str, series_uid: str, sop_class_uid: str, sop_instance_uid: str
    ) -> StoredReport:
        """Keep a Part 10 file durably; a repeat replaces it by the same."""


class Door(Protocol):
    """The corridor that all instances come in by: `intake.Intake`."""

    def accept_file(self, path: Path, *, origin: str | None, calling_ae: str | None) -> object:
        """Take one Part 10 file into spool and store."""


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """One SR, ready to be kept or sent."""

    sop_instance_uid: str
    sop_class_uid: str
    series_uid: str
    part10: bytes


def this_device(installation: str, name: str) -> DeviceObserver:
    """The device that speaks (TID 1004): `installation` tells one node from another, `name` is for people."""
    return DeviceObserver(
        name=name,
        uid=derived_uid("device", installation),
        manufacturer=OWN_MANUFACTURER,
        model="dicom-node",
        serial_number=installation,
        software_version=version(PACKAGE),
    )


def warm_up() -> None:
    """Import what the first report needs; for a thread of its own once the node is ready."""
    import dicom_node.report.document  # noqa: F401


def assess_study(
    assessor: Assessor,
    study_uid: str,
    instances: Sequence[Instance],
    decode: FrameDecoder = decode_here,
) -> Assessment:
    """Read the pixels, encode, judge. `seconds` of the result holds decode, encode, assess.

    Unreadable instances end in `skipped`; only InferenceError is raised.
    """
    began = time.perf_counter()
    read = read_study(instances, assessor.encoders, decode)
    decoded = time.perf_counter() - began
    assessment = assessor.assess(study_uid, read)
    return replace(assessment, seconds={"decode": decoded, **assessment.seconds})


def write_report(
    assessment: Assessment,
    instances: Sequence[Instance],
    *,
    created: datetime,
    predecessors: Sequence[StoredReport],
    device: DeviceObserver,
    number: int = 1,
) -> WrittenReport:
    """The SR of an assessment; `number` counts the reports of its series. The same arguments give the same
    bytes.

    Raises ReportError where the facts cannot be told as a standard SR.
    """
    digests = [instance.sha256 for instance in without_documents(instances)]
    uids = report_uids(assessment.study_uid, assessment.bundle.digest, digests, device)
    context = ReportContext(
        uids=uids,
        created=created,
        device=device,
        predecessors=tuple(
            PriorReport(prior.study_uid, prior.series_uid, prior.sop_class_uid, prior.sop_instance_uid)
            for prior in predecessors
        ),
        instance_number=number,
    )
    from dicom_node.report.document import build_report

    document = build_report(assessment, source_headers(assessment, instances), context)
    return _written(document)


def source_headers(assessment: Assessment, instances: Iterable[Instance]) -> list[Dataset]:
    """The headers that the report tells from, without pixels: every instance that is evidence, and the
    first of each view. A series of 300 slices is not read again for the one that gave the evidence."""
    used = {view.sources[0].sop_instance_uid for view in assessment.views}
    used |= {e.source.sop_instance_uid for finding in assessment.findings for e in finding.evidence}
    return [load_header(instance).header for instance in instances if instance.sop_instance_uid in used]


def _written(document: Dataset) -> WrittenReport:
    from dicom_node.report.document import encode_part10

    return WrittenReport(
        sop_instance_uid=str(document.SOPInstanceUID),
        sop_class_uid=str(document.SOPClassUID),
        series_uid=str(document.SeriesInstanceUID),
        part10=encode_part10(document),
    )


class Pipeline:
    """What the jobs do. Every method may be repeated after a crash at any point within it."""

    def __init__(
        self,
        *,
        assessor: Assessor,
        ledger: Ledger,
        shelf: Shelf,
        door: Door,
        archives: Mapping[str, ReportArchive],
        deliver_to: Sequence[str],
        device: DeviceObserver,
        scratch: Path,
        decode: FrameDecoder = decode_here,
    ) -> None:
        """`deliver_to`: archives for studies that came by C-STORE; `scratch`: a folder for passing files;
        `decode`: what decodes compressed frames."""
        self._decode = decode
        self._assessor = assessor
        self._ledger = ledger
        self._shelf = shelf
        self._door = door
        self._archives = archives
        self._deliver_to = tuple(deliver_to)
        self._device = device
        self._scratch = scratch

    def process_study(self, study_uid: str, revision: int) -> None:
        """Assess a complete study, write its report, keep both, and owe the report to its archives."""
        job = self._ledger.begin(study_uid, revision)
        if job is None:
            return
        assessment = assess_study(self._assessor, study_uid, job.instances, self._decode)
        began = time.perf_counter()
        stored = self._store_report(job, assessment) if assessment.status is Status.REPORTED else None
        assessment.seconds["report"] = time.perf_counter() - began
        finished = self._ledger.finish(job, assessment, stored, self._destinations(job))
        log.info(
            "study_finished",
            study_uid=study_uid,
            revision=revision,
            status=assessment.status.value,
            outcome=finished.value,
            seconds={part: round(value, 3) for part, value in assessment.seconds.items()},
        )

    def reembed_study(self, study_uid: str, bundle_digest: str) -> None:
        """Look at a study again for the index alone: its report stands. A job for a bundle that this worker
        does not have is dropped; workers that have it plan anew when they start."""
        if self._assessor.identity.digest != bundle_digest:
            log.warning("study_not_embedded_again", study_uid=study_uid, reason="another bundle is loaded")
            return
        job = self._ledger.begin_reembedding(study_uid, bundle_digest)
        if job is None:
            return
        assessment = assess_study(self._assessor, study_uid, job.instances, self._decode)
        done = self._ledger.finish_reembedding(job, assessment)
        log.info("study_embedded_again", study_uid=study_uid, revision=job.revision, done=done)

    def deliver_report(self, report_uid: str, destination: str) -> DeliveredAs | None:
        """Bring a report to an archive, in the richest form that the archive takes; that form. None, and
        nothing is sent, when a later report goes there instead."""
        if self._ledger.is_superseded(report_uid, destination):
            return None
        report = self._ledger.report(report_uid)
        if report is None:
            raise ReportError(f"there is no report {report_uid} to deliver")
        archive = self._archives.get(destination)
        if archive is None:
            raise ArchiveRefusedError(
                f"no archive is named {destination!r} any longer; name it in the configuration and retry"
            )
        part10 = report.path.read_bytes()
        began = time.perf_counter()
        written = WrittenReport(report_uid, report.sop_class_uid, report.series_uid, part10)
        delivered = self._deliver(archive, written)
        log.info(
            "report_delivered",
            report_uid=report_uid,
            destination=destination,
            seconds=round(time.perf_counter() - began, 3),
        )
        return delivered

    def fetch_study(self, archive: str, resource_id: str) -> None:
        """Bring a study that an archive announced through the same corridor as all others."""
        source: object = self._archives.get(archive)
        if not isinstance(source, StudySource):
            raise ArchiveRefusedError(f"studies cannot be fetched from the archive {archive!r}")
        with tempfile.TemporaryDirectory(dir=self._scratch, prefix="fetch-") as folder:
            for path in source.fetch_study(resource_id, Path(folder)):
                self._accept(path, archive)
                path.unlink(missing_ok=True)

    def _accept(self, path: Path, archive: str) -> None:
        """One object that cannot be taken in does not keep the others out; the archive still has it."""
        try:
            self._door.accept_file(path, origin=archive, calling_ae=None)
        except (InputError, InstanceConflictError) as error:
            log.warning("instance_not_taken", archive=archive, error=describe(error))

    def _store_report(self, job: Job, assessment: Assessment) -> StoredReport:
        written = write_report(
            assessment,
            job.instances,
            created=job.created_at.astimezone(),
            predecessors=job.predecessors,
            device=self._device,
            number=job.revision,
        )
        return self._shelf.store_report(
            written.part10,
            study_uid=job.study_uid,
            series_uid=written.series_uid,
            sop_instance_uid=written.sop_instance_uid,
            sop_class_uid=written.sop_class_uid,
        )

    def _destinations(self, job: Job) -> tuple[str, ...]:
        """Back to the archive that announced the study, else where the configuration says."""
        return self._deliver_to if job.origin is None else (job.origin,)

    def _deliver(self, archive: ReportArchive, report: WrittenReport) -> DeliveredAs:
        try:
            archive.deliver(report.part10, report.sop_instance_uid, report.sop_class_uid)
            return DeliveredAs(report.sop_instance_uid, report.sop_class_uid)
        except SopClassRefusedError as error:
            refused: ArchiveRefusedError = error
        from dicom_node.report.document import convert_form

        document = dcmread(BytesIO(report.part10))
        for form in FALLBACK_FORMS:
            other = _written(convert_form(document, form))
            try:
                archive.deliver(other.part10, other.sop_instance_uid, other.sop_class_uid)
            except SopClassRefusedError as error:
                refused = error
                continue
            log.info("report_delivered_in_other_form", report_uid=report.sop_instance_uid, form=form.value)
            return DeliveredAs(other.sop_instance_uid, other.sop_class_uid)
        raise refused
