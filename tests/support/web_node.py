"""A node as the web room sees it: the ports, over studies in memory, with one study in every state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.errors import DatabaseUnavailableError, NotDicomError
from dicom_node.pixels.thumbnail import jpeg
from dicom_node.records import Evidence, Presence, SourceRef, StoredReport
from dicom_node.search.example import Seen
from dicom_node.store.states import DeliveryState, StudyState
from dicom_node.web.ports import BundleInfo, NodeInfo, Records, Search, Studies, WebPorts
from tests.support.questions import embedded
from tests.support.records import RecordsInMemory
from tests.support.studies import (
    BUNDLE,
    ECG_CLASS,
    StudiesInMemory,
    assessment,
    delivery,
    finding,
    record,
    region,
)

CHEST = "1.2.826.0.1.3680043.8.1"
ECG = "1.2.826.0.1.3680043.8.2"
FAILED = "1.2.826.0.1.3680043.8.3"
FOOT = "1.2.826.0.1.3680043.8.4"
ARRIVING = "1.2.826.0.1.3680043.8.5"
REFUSED = "1.2.826.0.1.3680043.8.6"
REPORT = "1.2.826.0.1.3680043.8.1.9"
HOSTILE = "<script>alert('x')</script>"
SR_BYTES = bytes(128) + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00\x00\x00\x00\x00"


@dataclass
class Node:
    """What the test turns, and what it sees."""

    studies: StudiesInMemory
    ready: bool = True
    database_up: bool = True
    archive: Search | None = None
    announced: list[tuple[str, str, str, int | None]] = field(default_factory=list)
    records: RecordsInMemory = field(default_factory=RecordsInMemory)
    looked: list[int] = field(default_factory=list)
    """Bytes of the objects that were sent along with a question."""

    def readiness(self) -> tuple[bool, str]:
        return self.ready, "" if self.ready else "the bundle's self-test is running"

    def info(self) -> NodeInfo:
        bundle = BundleInfo(BUNDLE.name, BUNDLE.version, BUNDLE.digest) if self.ready else None
        modalities = ("xray", "ct", "retina", "ecg") if self.ready else ()
        return NodeInfo("0.1.0", bundle, ("CPUExecutionProvider",), ("main",), modalities)

    def open_studies(self) -> Studies:
        if not self.database_up:
            raise DatabaseUnavailableError("connection to server on socket /tmp/pg/.s.PGSQL failed")
        return self.studies

    def open_search(self) -> Search | None:
        if not self.database_up:
            raise DatabaseUnavailableError("connection to server on socket /tmp/pg/.s.PGSQL failed")
        return self.archive if self.ready else None

    def announce(self, archive: str, resource: str, study_uid: str, instances: int | None) -> None:
        self.announced.append((archive, resource, study_uid, instances))

    def ports(self) -> WebPorts:
        return WebPorts(
            readiness=self.readiness,
            info=self.info,
            studies=self.open_studies,
            announce=self.announce,
            search=self.open_search,
            records=self.open_records,
            catch_up=lambda _unless: None,
            retrieve_ae={None: "ORTHANC", "main": "MAIN"}.get,
            picture=jpeg,
            look=self.look,
        )

    def open_records(self) -> Records:
        if not self.database_up:
            raise DatabaseUnavailableError("connection to server on socket /tmp/pg/.s.PGSQL failed")
        return self.records

    def look(self, part10: bytes) -> Sequence[Seen]:
        """An encoder that takes files which begin as DICOM does, and sees pneumonia in all of them."""
        if part10[128:132] != b"DICM":
            raise NotDicomError("no-dicom", "It is no DICOM file.")
        self.looked.append(len(part10))
        return [Seen("xray", embedded(["pneumonia"])[0])]


def fill(studies: StudiesInMemory, folder: Path) -> None:
    """One study in every state that a reader of the pages may meet."""
    path = folder / "report.dcm"
    path.write_bytes(SR_BYTES)
    studies.reports[REPORT] = StoredReport(REPORT, "1.2.3", "1.2.4", CHEST, path, len(SR_BYTES), "0" * 64)
    studies.add(
        record(CHEST, StudyState.REPORTED, 30, origin="main", report_uid=REPORT),
        assessment(
            CHEST,
            finding("Atelectasis", "46621007", 0.07, Presence.ABSENT),
            finding(
                "Pneumonia", "233604007", 0.872, Presence.PRESENT, evidence=(region(120.2, 300, 330, 481),)
            ),
            finding("Cardiomegaly", "8186001", 0.46, Presence.UNSURE, laterality="L"),
        ),
        delivery(REPORT, "main", DeliveryState.DELIVERED),
        delivery(REPORT, "second", DeliveryState.FAILED, last_error="A700 Out of Resources", attempts=9),
    )
    span = Evidence(SourceRef(ECG_CLASS, "1.2.826.0.1.3680043.9.2.1"), span=(2.1, 4.5), share=0.4)
    studies.add(
        record(ECG, StudyState.REPORTED, 20, modality="ecg"),
        assessment(
            ECG,
            finding(
                "Atrial fibrillation", "49436004", 0.994, Presence.PRESENT, modality="ecg", evidence=(span,)
            ),
            modality="ecg",
        ),
    )
    studies.add(record(FAILED, StudyState.FAILED, 10, reason=f"the encoder could not be run: {HOSTILE}"))
    studies.add(
        record(FOOT, StudyState.OUT_OF_SCOPE, 8, reason="not a chest radiograph: distance 31.0, limit 14.2")
    )
    studies.add(record(ARRIVING, StudyState.RECEIVING, 6, instances=212))
    studies.add(record(REFUSED, StudyState.REFUSED, 4, modality=None, reason="no object that a reader takes"))
