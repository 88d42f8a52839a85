"""Studies in memory with the face that the web room asks for, and realistic records to fill it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from dicom_node.facts import assessment_to_json
from dicom_node.records import (
    Assessment,
    BundleIdentity,
    Code,
    Evidence,
    Finding,
    Instance,
    Presence,
    Skipped,
    SourceRef,
    Status,
    StoredReport,
    ViewSummary,
)
from dicom_node.store.states import (
    DeliveryRecord,
    DeliveryState,
    FetchRecord,
    FetchState,
    StudyRecord,
    StudyState,
)

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BUNDLE = BundleIdentity("m3bind-mini", "0.1.0", "5e" * 32)
CR_CLASS = "1.2.840.10008.5.1.4.1.1.1"
ECG_CLASS = "1.2.840.10008.5.1.4.1.1.9.1.1"


class StudiesInMemory:
    """What `store.studies.StudyStore` answers to the web room, without a database."""

    def __init__(self) -> None:
        self.records: dict[str, StudyRecord] = {}
        self.assessments: dict[str, dict[str, Any]] = {}
        self.deliveries_of: dict[str, list[DeliveryRecord]] = {}
        self.reports: dict[str, StoredReport] = {}
        self.announced: list[FetchRecord] = []
        self.files: dict[str, list[Instance]] = {}

    def add(
        self, record: StudyRecord, assessment: Assessment | None = None, *deliveries: DeliveryRecord
    ) -> None:
        """Know a study, what was found in it, and where its report went."""
        self.records[record.study_uid] = record
        self.deliveries_of[record.study_uid] = list(deliveries)
        if assessment is not None:
            self.assessments[record.study_uid] = assessment_to_json(assessment)

    def list_studies(
        self, *, state: StudyState | None = None, limit: int = 50, before: datetime | None = None
    ) -> Sequence[StudyRecord]:
        """Newest first, as the store does."""
        found = [
            record
            for record in self.records.values()
            if (state is None or record.state is state) and (before is None or record.last_received < before)
        ]
        return sorted(found, key=lambda record: record.last_received, reverse=True)[:limit]

    def counts(self) -> Mapping[StudyState, int]:
        """Every state has an entry."""
        return {s: sum(record.state is s for record in self.records.values()) for s in StudyState}

    def study(self, study_uid: str) -> StudyRecord | None:
        """One study."""
        return self.records.get(study_uid)

    def instances(self, study_uid: str) -> Sequence[Instance]:
        """Its objects."""
        return self.files.get(study_uid, [])

    def assessment(self, study_uid: str) -> Mapping[str, Any] | None:
        """The latest assessment."""
        return self.assessments.get(study_uid)

    def noticed(self, study_uids: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, Any]]]:
        """Findings that are not absent, by study."""
        found = {
            uid: [f for f in self.assessments[uid]["findings"] if f["presence"] != "absent"]
            for uid in study_uids
            if uid in self.assessments
        }
        return {uid: findings for uid, findings in found.items() if findings}

    def fetches(self, *, state: FetchState | None = None, limit: int = 50) -> Sequence[FetchRecord]:
        """The latest change first."""
        found = [fetch for fetch in self.announced if state in (None, fetch.state)]
        return sorted(found, key=lambda fetch: fetch.changed_at, reverse=True)[:limit]

    def troubled_fetches(self, *, limit: int = 50) -> Sequence[FetchRecord]:
        """Given up, or gone wrong at the latest try."""
        return [
            fetch
            for fetch in self.fetches()
            if fetch.state is FetchState.FAILED
            or (fetch.state is FetchState.WAITING and fetch.last_error is not None)
        ][:limit]

    def fetch(self, archive: str, resource_id: str) -> FetchRecord | None:
        """One fetch."""
        key = (archive, resource_id)
        return next((f for f in self.announced if (f.archive, f.resource_id) == key), None)

    def retry_fetch(self, archive: str, resource_id: str) -> bool:
        """What failed or waits is waiting."""
        found = self.fetch(archive, resource_id)
        if found is None or found.state not in (FetchState.FAILED, FetchState.WAITING):
            return False
        self.announced[self.announced.index(found)] = replace(found, state=FetchState.WAITING)
        return True

    def deliveries(self, study_uid: str) -> Sequence[DeliveryRecord]:
        """All deliveries of a study."""
        return self.deliveries_of.get(study_uid, [])

    def report(self, report_uid: str) -> StoredReport | None:
        """One report."""
        return self.reports.get(report_uid)

    def retry(self, study_uid: str) -> bool:
        """Failed and refused studies are queued."""
        return self._queue(study_uid, {StudyState.FAILED, StudyState.REFUSED})

    def complete_now(self, study_uid: str) -> bool:
        """Studies being received are queued."""
        return self._queue(study_uid, {StudyState.RECEIVING})

    def retry_delivery(self, report_uid: str, destination: str) -> bool:
        """A delivery that was given up is pending again."""
        for deliveries in self.deliveries_of.values():
            for at, delivery in enumerate(deliveries):
                mine = (delivery.report_uid, delivery.destination) == (report_uid, destination)
                if mine and delivery.state is DeliveryState.FAILED:
                    deliveries[at] = replace(delivery, state=DeliveryState.PENDING)
                    return True
        return False

    def _queue(self, study_uid: str, states: set[StudyState]) -> bool:
        record = self.records.get(study_uid)
        if record is None or record.state not in states:
            return False
        self.records[study_uid] = replace(record, state=StudyState.QUEUED, reason=None)
        return True


def record(study_uid: str, state: StudyState, minutes: int, **changes: Any) -> StudyRecord:
    """A study whose last object came `minutes` after noon; everything else as such a state has it."""
    last = NOON + timedelta(minutes=minutes)
    done = state in {StudyState.REPORTED, StudyState.OUT_OF_SCOPE, StudyState.REFUSED}
    fresh = StudyRecord(
        study_uid=study_uid,
        state=state,
        reason=None,
        modality="xray" if done else None,
        origin=None,
        revision=1 if done else 0,
        first_received=last - timedelta(seconds=2),
        last_received=last,
        completed_at=last + timedelta(seconds=5) if done else None,
        job_created_at=last + timedelta(seconds=5) if done else None,
        finished_at=last + timedelta(seconds=6) if done else None,
        bundle_name=BUNDLE.name if done else None,
        bundle_version=BUNDLE.version if done else None,
        bundle_digest=BUNDLE.digest if done else None,
        report_uid=None,
        instances=1,
    )
    return replace(fresh, **changes)


def finding(name: str, value: str, probability: float, presence: Presence, **changes: Any) -> Finding:
    """A finding of a radiograph, threshold 0.5, without evidence."""
    slug = name.lower().replace(" ", "_")
    plain = Finding(
        id=f"xray.{slug}",
        name=name,
        code=Code(value, "SCT", name),
        modality="xray",
        probability=probability,
        margin=probability - 0.5,
        threshold=0.5,
        presence=presence,
        series_uid="1.2.826.0.1.3680043.9.1",
        view=0,
    )
    return replace(plain, **changes)


def region(left: float, top: float, right: float, bottom: float) -> Evidence:
    """Evidence of one image: a rectangle in source pixels."""
    outline = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Evidence(SourceRef(CR_CLASS, "1.2.826.0.1.3680043.9.1.1"), outline=outline, share=0.63)


def assessment(study_uid: str, *findings: Finding, **changes: Any) -> Assessment:
    """What the bundle said of a study with one radiograph and one object that no reader takes."""
    view = ViewSummary(
        modality="xray",
        series_uid="1.2.826.0.1.3680043.9.1",
        sources=(SourceRef(CR_CLASS, "1.2.826.0.1.3680043.9.1.1"),),
        embedding=np.full(4, 0.5, dtype=np.float32),
        in_scope=True,
        scope_score=1.2,
        notes=("no view position is given; taken as frontal",),
    )
    plain = Assessment(
        study_uid=study_uid,
        modality="xray",
        status=Status.REPORTED,
        reason=None,
        findings=findings,
        views=(view,),
        skipped=(
            Skipped("1.2.826.0.1.3680043.9.1.2", "no-reader", "no reader for Encapsulated PDF Storage"),
        ),
        bundle=BUNDLE,
        seconds={"decode": 0.021, "encode": 0.115, "assess": 0.002},
    )
    return replace(plain, **changes)


def delivery(report_uid: str, destination: str, state: DeliveryState, **changes: Any) -> DeliveryRecord:
    """A delivery that was tried once."""
    delivered = NOON + timedelta(minutes=1) if state is DeliveryState.DELIVERED else None
    return replace(DeliveryRecord(report_uid, destination, state, 1, None, NOON, delivered), **changes)


def fetch(resource_id: str, state: FetchState, **changes: Any) -> FetchRecord:
    """A study that the archive `main` announced at noon."""
    plain = FetchRecord("main", resource_id, None, None, state, 1, None, NOON, NOON)
    return replace(plain, **changes)
