"""The corridor: what is read from an object, and what becomes of it."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Collection
from io import BytesIO
from pathlib import Path

import psycopg
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import (
    DatabaseUnavailableError,
    InstanceConflictError,
    NotDicomError,
    StorageFullError,
    UnreadableObjectError,
)
from dicom_node.intake import Announced, Identity, Intake, QuietWatch, identify
from dicom_node.part10 import read_part10_head
from dicom_node.records import Instance
from dicom_node.spool import Spool
from dicom_node.store.states import Added
from tests.support.small_dicom import ROOT, make_dataset, write_file


class LedgerInMemory:
    """What the store does with instances; held to the same by test_store_studies.py."""

    def __init__(self) -> None:
        self.known: dict[str, Instance] = {}
        self.origins: list[str | None] = []

    def add_instance(self, instance: Instance, *, origin: str | None, calling_ae: str | None) -> Added:  # noqa: ARG002
        self.origins.append(origin)
        before = self.known.setdefault(instance.sop_instance_uid, instance)
        if before.sha256 != instance.sha256:
            raise InstanceConflictError("known with other content")
        return Added.NEW if before is instance else Added.ALREADY_THERE

    def knows(self, sop_instance_uid: str) -> bool:
        return sop_instance_uid in self.known


@pytest.fixture
def ledger() -> LedgerInMemory:
    return LedgerInMemory()


@pytest.fixture
def intake(spool: Spool, ledger: LedgerInMemory) -> Intake:
    return Intake(spool, ledger)


def data_set_of(path: Path) -> bytes:
    _, offset = read_part10_head(path)
    return path.read_bytes()[offset:]


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_the_uids_are_read_in_every_encoding(tmp_path: Path, syntax: UID) -> None:
    path = write_file(tmp_path / "a.dcm", make_dataset(1, 7, kilobytes=300), syntax)
    found_syntax, offset = read_part10_head(path)
    assert found_syntax == syntax
    assert identify(path, found_syntax, offset) == Identity(
        study_uid=f"{ROOT}.1",
        series_uid=f"{ROOT}.1.1",
        sop_instance_uid=f"{ROOT}.1.1.7",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    )


def test_a_file_is_copied_as_it_is_and_known(tmp_path: Path, intake: Intake, ledger: LedgerInMemory) -> None:
    path = write_file(tmp_path / "a.dcm", make_dataset(1, 1))
    accepted = intake.accept_file(path, origin="orthanc")
    instance = accepted.instance
    assert accepted.added is Added.NEW
    assert instance.path.read_bytes() == path.read_bytes()
    assert instance.size == path.stat().st_size
    assert instance.sha256 == hashlib.sha256(data_set_of(path)).hexdigest()
    assert instance.transfer_syntax_uid == ExplicitVRLittleEndian
    assert ledger.known == {instance.sop_instance_uid: instance}
    assert ledger.origins == ["orthanc"]
    assert intake.accept_file(path).added is Added.ALREADY_THERE


def test_a_stream_that_cannot_seek_is_taken(tmp_path: Path, intake: Intake) -> None:
    content = write_file(tmp_path / "a.dcm", make_dataset(1, 1)).read_bytes()
    reader, writer = os.pipe()

    def feed() -> None:
        with os.fdopen(writer, "wb") as sink:
            sink.write(content)

    thread = threading.Thread(target=feed)
    thread.start()
    with os.fdopen(reader, "rb") as source:
        accepted = intake.accept_stream(source)
    thread.join()
    assert accepted.instance.path.read_bytes() == content


def test_the_same_data_set_under_another_head_is_the_same(tmp_path: Path, intake: Intake) -> None:
    path = write_file(tmp_path / "a.dcm", make_dataset(1, 1))
    again = dcmread(path)
    again.file_meta.ImplementationVersionName = "SOMEBODY_ELSE"
    again.save_as(tmp_path / "b.dcm")
    assert (tmp_path / "b.dcm").read_bytes() != path.read_bytes()
    first = intake.accept_file(path)
    assert intake.accept_file(tmp_path / "b.dcm").added is Added.ALREADY_THERE
    assert first.instance.path.read_bytes() == path.read_bytes()


def test_other_content_is_refused_and_the_first_is_kept(tmp_path: Path, intake: Intake) -> None:
    first = intake.accept_file(write_file(tmp_path / "a.dcm", make_dataset(1, 1))).instance
    content = first.path.read_bytes()
    other = make_dataset(1, 1)
    other.PatientID = "T2"
    with pytest.raises(InstanceConflictError):
        intake.accept_file(write_file(tmp_path / "b.dcm", other))
    assert first.path.read_bytes() == content


def test_the_same_uid_in_another_series_leaves_no_file(tmp_path: Path, intake: Intake, spool: Spool) -> None:
    intake.accept_file(write_file(tmp_path / "a.dcm", make_dataset(1, 1)))
    other = make_dataset(1, 1)
    other.SeriesInstanceUID = f"{ROOT}.1.2"
    with pytest.raises(InstanceConflictError):
        intake.accept_file(write_file(tmp_path / "b.dcm", other))
    assert len(list((spool.root / "instances").rglob("*.dcm"))) == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 200, b"\x00" * 128 + b"DICM"])
def test_what_is_not_part_10_is_refused(intake: Intake, spool: Spool, content: bytes) -> None:
    with pytest.raises((NotDicomError, UnreadableObjectError)):
        intake.accept_stream(BytesIO(content))
    assert list((spool.root / "incoming").iterdir()) == []


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_an_object_without_a_uid_is_refused(tmp_path: Path, intake: Intake, keyword: str) -> None:
    dataset = make_dataset(1, 1)
    delattr(dataset, keyword)
    with pytest.raises(UnreadableObjectError) as caught:
        intake.accept_file(write_file(tmp_path / "a.dcm", dataset))
    assert caught.value.reason == "missing-uid"


def test_a_truncated_data_set_is_refused(tmp_path: Path, intake: Intake) -> None:
    path = write_file(tmp_path / "a.dcm", make_dataset(1, 1))
    _, offset = read_part10_head(path)
    path.write_bytes(path.read_bytes()[: offset + 30])
    with pytest.raises(UnreadableObjectError):
        intake.accept_file(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.4"}, "class-mismatch"),
        ({"sop_instance_uid": "1.2.3"}, "instance-mismatch"),
    ],
)
def test_a_data_set_that_is_not_what_was_announced_is_refused(
    tmp_path: Path, intake: Intake, changes: dict[str, str], reason: str
) -> None:
    path = write_file(tmp_path / "a.dcm", make_dataset(1, 1))
    syntax, offset = read_part10_head(path)
    told = {
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
        "sop_instance_uid": f"{ROOT}.1.1.1",
        "transfer_syntax_uid": syntax,
    }
    with intake.draft() as draft:
        draft.write_unhashed(path.read_bytes()[:offset])
        draft.write(path.read_bytes()[offset:])
        with pytest.raises(UnreadableObjectError) as caught:
            intake.accept_draft(draft, Announced(**{**told, **changes}, offset=offset), calling_ae="A")
        assert caught.value.reason == reason
        accepted = intake.accept_draft(draft, Announced(**told, offset=offset), calling_ae="A")
    assert accepted.instance.path.read_bytes() == path.read_bytes()


def test_a_file_placed_by_a_killed_process_is_adopted(
    tmp_path: Path, intake: Intake, spool: Spool, ledger: LedgerInMemory
) -> None:
    placed = intake.accept_file(write_file(tmp_path / "a.dcm", make_dataset(1, 1))).instance
    ledger.known.clear()
    os.link(placed.path, spool.root / "incoming" / "left.part")
    assert spool.sweep(intake.adopt) == 1
    assert ledger.known == {placed.sop_instance_uid: placed}
    assert placed.path.exists()


@pytest.mark.parametrize("again", ["same", "other"])
def test_a_file_that_the_store_never_came_to_know_gives_way(
    tmp_path: Path, intake: Intake, ledger: LedgerInMemory, spool: Spool, again: str
) -> None:
    def away(instance: Instance, *, origin: str | None, calling_ae: str | None) -> Added:  # noqa: ARG001
        raise DatabaseUnavailableError("away for a moment")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "add_instance", away)
        with pytest.raises(DatabaseUnavailableError):
            intake.accept_file(write_file(tmp_path / "a.dcm", make_dataset(1, 1)))
    corrected = make_dataset(1, 1)
    if again == "other":
        corrected.PatientID = "T2"
    path = write_file(tmp_path / "b.dcm", corrected)
    accepted = intake.accept_file(path)
    assert accepted.added is Added.NEW
    assert accepted.instance.path.read_bytes() == path.read_bytes()
    assert len(list((spool.root / "instances").rglob("*.dcm"))) == 1


def test_two_corrections_at_once_leave_the_file_that_the_store_knows(
    tmp_path: Path, intake: Intake, ledger: LedgerInMemory
) -> None:
    orphan = intake.accept_file(write_file(tmp_path / "a.dcm", make_dataset(1, 1))).instance
    ledger.known.clear()
    gate, outcomes = threading.Barrier(4), []

    def send(number: int) -> None:
        dataset = make_dataset(1, 1)
        dataset.PatientID = f"T{number}"
        path = write_file(tmp_path / f"{number}.dcm", dataset)
        gate.wait()
        try:
            outcomes.append(intake.accept_file(path).added)
        except InstanceConflictError:
            outcomes.append(None)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(Added.NEW) == 1
    assert outcomes.count(None) == 3
    kept = ledger.known[orphan.sop_instance_uid]
    assert hashlib.sha256(data_set_of(kept.path)).hexdigest() == kept.sha256 != orphan.sha256


def test_the_door_tells_which_study_a_slow_object_belongs_to(tmp_path: Path, intake: Intake) -> None:
    content = write_file(tmp_path / "a.dcm", make_dataset(1, 1, kilobytes=300)).read_bytes()
    with intake.draft() as draft:
        assert intake.arriving(0.0) == set()  # nothing has told yet
        draft.write(content[:2000])
        assert intake.arriving(0.0) == {f"{ROOT}.1"}
        assert intake.arriving(60.0) == set()
    assert intake.arriving(0.0) == set()


class QuietLedger:
    """Tells one closed study, after one error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.touched: list[str] = []
        self.asked: list[float] = []
        self.closed = threading.Event()

    def close_quiet(self, quiet_seconds: float) -> list[str]:
        self.asked.append(quiet_seconds)
        if len(self.asked) == 1:
            raise self.error
        self.closed.set()
        return ["1.2.3"]

    def next_quiet(self, quiet_seconds: float) -> float | None:  # noqa: ARG002
        return None

    def touch(self, study_uids: Collection[str], older_than: float) -> None:  # noqa: ARG002
        self.touched.extend(study_uids)


class OneStudy:
    """A study that becomes quiet at a moment that no multiple of the poll hits."""

    def __init__(self, due: float) -> None:
        self.due = time.monotonic() + due
        self.late: list[float] = []
        self.closed = threading.Event()

    def close_quiet(self, quiet_seconds: float) -> list[str]:  # noqa: ARG002
        late = time.monotonic() - self.due
        if late < 0 or self.late:
            return []
        self.late.append(late)
        self.closed.set()
        return ["1.2.3"]

    def next_quiet(self, quiet_seconds: float) -> float | None:  # noqa: ARG002
        return None if self.late else self.due - time.monotonic()

    def touch(self, study_uids: Collection[str], older_than: float) -> None:
        raise AssertionError((study_uids, older_than))


def test_the_watch_asks_just_when_a_study_becomes_quiet() -> None:
    ledger = OneStudy(due=1.3)
    watch = QuietWatch(ledger, 1.0, poll_seconds=1.0)
    watch.start()
    assert ledger.closed.wait(10)
    watch.stop()

    assert ledger.late[0] < 0.5  # the next poll would be 0.7 s late


@pytest.mark.parametrize(
    "error",
    [
        DatabaseUnavailableError("away for a moment"),
        StorageFullError("no room left"),
        psycopg.errors.ReadOnlySqlTransaction("at a failover"),
    ],
)
def test_the_watch_outlives_whatever_the_database_says(error: Exception) -> None:
    ledger = QuietLedger(error)
    watch = QuietWatch(ledger, 0.05)
    watch.start()
    assert ledger.closed.wait(10)
    assert watch.alive
    watch.stop()

    assert set(ledger.asked) == {0.05}


def test_the_watch_tells_the_store_what_is_on_the_wire() -> None:
    ledger = QuietLedger(DatabaseUnavailableError("away for a moment"))
    watch = QuietWatch(ledger, 0.05, arriving=lambda longer_than: {f"1.2.{longer_than}"})
    watch.start()
    assert ledger.closed.wait(10)
    watch.stop()

    assert ledger.touched[0] == "1.2.0.0125"
