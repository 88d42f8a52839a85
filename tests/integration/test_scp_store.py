"""The DICOM port against real peers: what is stored, what is refused, and with which status."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
)
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode

from dicom_node.dimse.contexts import VERIFICATION, storage_classes, transfer_syntaxes
from dicom_node.dimse.server import DicomServer, ScpSettings, echo
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ConfigError
from dicom_node.intake import Intake
from dicom_node.part10 import read_part10_head
from dicom_node.pixels.quiet import quiet
from dicom_node.spool import Spool
from dicom_node.store.database import Pool
from dicom_node.store.states import StudyState
from dicom_node.store.studies import StudyStore
from tests.support.dcmtk import store_scu
from tests.support.peers import require
from tests.support.raw_dimse import COMMAND, DATA, LAST, associate, command_of, fragment
from tests.support.small_dicom import ROOT, make_dataset, write_file, write_studies
from tests.support.waiting import wait_until


@pytest.fixture
def server(spool: Spool, store: StudyStore) -> Iterator[DicomServer]:
    started = DicomServer(Intake(spool, store), ScpSettings(port=0, idle_seconds=20, max_associations=4))
    started.start()
    yield started
    started.stop()


def send(server: DicomServer, *datasets: Dataset) -> list[int]:
    association = associate(server)
    statuses = [int(association.send_c_store(dataset).Status) for dataset in datasets]
    association.release()
    return statuses


def prepared(tmp_path: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Dataset:
    return dcmread(write_file(tmp_path / f"{dataset.SOPInstanceUID}.dcm", dataset, syntax))


def test_echo(server: DicomServer) -> None:
    echo("127.0.0.1", server.port, "M3BIND")


def test_echo_to_nobody_and_to_one_who_refuses(spool: Spool, store: StudyStore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ArchiveUnavailableError):
            echo("127.0.0.1", taken.getsockname()[1], "NOBODY", timeout_seconds=2)
    picky = DicomServer(Intake(spool, store), ScpSettings(port=0, calling_ae_titles=("FRIEND",)))
    try:
        port = picky.start()
        with pytest.raises(ArchiveRefusedError):
            echo("127.0.0.1", port, "M3BIND", calling_ae="STRANGER")
        echo("127.0.0.1", port, "M3BIND", calling_ae="FRIEND")
    finally:
        picky.stop()


@pytest.mark.peer
def test_dcmtk_sends_studies_that_arrive_unchanged(
    tmp_path: Path, server: DicomServer, store: StudyStore
) -> None:
    require("storescu")
    files = write_studies(tmp_path / "out", 2, 5, kilobytes=200)
    for _ in range(2):  # the second time changes nothing
        store_scu(files, server.port, called="M3BIND")
        for study in (1, 2):
            record = store.study(f"{ROOT}.{study}")
            assert record is not None
            assert (record.state, record.instances) == (StudyState.RECEIVING, 5)
    sent = {str(dcmread(path).SOPInstanceUID): dcmread(path) for path in files}
    for study in (1, 2):
        for instance in store.instances(f"{ROOT}.{study}"):
            received = dcmread(instance.path)
            assert received == sent[instance.sop_instance_uid]
            assert received.file_meta.TransferSyntaxUID == instance.transfer_syntax_uid
            assert instance.path.stat().st_size == instance.size


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    ],
)
def test_every_encoding_is_kept_as_sent(
    tmp_path: Path, server: DicomServer, store: StudyStore, syntax: UID
) -> None:
    dataset = prepared(tmp_path, make_dataset(1, 1), syntax)
    association = associate(server, (CTImageStorage, syntax))
    assert association.send_c_store(dataset).Status == 0x0000
    association.release()
    (instance,) = store.instances(f"{ROOT}.1")
    assert instance.transfer_syntax_uid == syntax
    assert dcmread(instance.path) == dataset


def test_a_compressed_object_is_kept_as_sent(tmp_path: Path, server: DicomServer, store: StudyStore) -> None:
    """HTJ2K: the bytes need not be a code stream for this, they must only stay what they are."""
    dataset = make_dataset(1, 1)
    dataset["PixelData"].is_undefined_length = True
    dataset.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00\xff\x4f\xff\x51"
    sent = prepared(tmp_path, dataset, HTJ2KLossless)
    association = associate(server, (CTImageStorage, HTJ2KLossless))
    assert association.send_c_store(sent).Status == 0x0000
    association.release()
    (instance,) = store.instances(f"{ROOT}.1")
    assert dcmread(instance.path) == sent


def test_every_class_and_syntax_is_negotiated(server: DicomServer) -> None:
    classes, syntaxes = storage_classes(), transfer_syntaxes()
    wanted = [(classes[n % len(classes)], syntaxes[n % len(syntaxes)]) for n in range(len(classes))]
    for start in range(0, len(wanted), 100):
        association = associate(server, *wanted[start : start + 100])
        assert association.rejected_contexts == []
        association.release()


def test_other_content_under_the_same_uid_is_a_duplicate(
    tmp_path: Path, server: DicomServer, store: StudyStore
) -> None:
    first = prepared(tmp_path, make_dataset(1, 1))
    other = prepared(tmp_path, make_dataset(1, 1))
    other.PatientID = "T2"
    assert send(server, first, first, other) == [0x0000, 0x0000, 0x0111]
    (instance,) = store.instances(f"{ROOT}.1")
    assert dcmread(instance.path).PatientID == "T1"


def test_uids_with_leading_zeros_are_stored(tmp_path: Path, server: DicomServer, store: StudyStore) -> None:
    dataset = make_dataset(1, 1)
    with quiet:  # pydicom remarks on them
        dataset.StudyInstanceUID, dataset.SOPInstanceUID = "1.2.03.1", "1.2.03.001"
        assert send(server, prepared(tmp_path, dataset)) == [0x0000]
    (instance,) = store.instances("1.2.03.1")
    assert instance.sop_instance_uid == "1.2.03.001"


def test_what_does_not_hold_together_is_refused(
    tmp_path: Path, server: DicomServer, store: StudyStore, spool: Spool
) -> None:
    no_study = prepared(tmp_path, make_dataset(1, 1))
    del no_study.StudyInstanceUID
    traversal = prepared(tmp_path, make_dataset(1, 2))
    traversal["StudyInstanceUID"]._value = "../../../tmp/x"
    statuses = send(server, no_study, traversal)
    assert statuses == [0xC000, 0x0117]
    assert sum(store.counts().values()) == 0
    assert list((spool.root / "incoming").iterdir()) == []


def test_a_data_set_of_another_class_or_instance_is_refused(
    tmp_path: Path, server: DicomServer, store: StudyStore
) -> None:
    association = associate(server)
    for change in ("SOPClassUID", "SOPInstanceUID"):
        dataset = prepared(tmp_path, make_dataset(1, 1))
        path = tmp_path / "changed.dcm"
        told = str(dataset[change].value)
        setattr(dataset, change, "1.2.840.10008.5.1.4.1.1.4" if change == "SOPClassUID" else "1.2.3")
        dataset.save_as(path)
        status = send_as(association, path, change, told)
        assert status == 0xA900
    association.release()
    assert store.counts()[StudyState.RECEIVING] == 0


def send_as(association: Association, path: Path, changed: str, told: str) -> int:
    """Send a file while the command names what it held before `changed` was changed."""
    dataset = dcmread(path)
    _, offset = read_part10_head(path)
    request = C_STORE()
    request.MessageID = 7
    request.Priority = 2
    request.AffectedSOPClassUID = told if changed == "SOPClassUID" else str(dataset.SOPClassUID)
    request.AffectedSOPInstanceUID = told if changed == "SOPInstanceUID" else str(dataset.SOPInstanceUID)
    request.DataSet = BytesIO(path.read_bytes()[offset:])
    context = association.accepted_contexts[0]
    assert context.context_id is not None
    association._reactor_checkpoint.clear()
    association.dimse.send_msg(request, context.context_id)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert response is not None
    return int(response.Status)


def test_a_full_spool_says_out_of_resources_and_keeps_the_association(
    tmp_path: Path, store: StudyStore, spool: Spool
) -> None:
    full = Spool(spool.root, min_free_bytes=1 << 60)
    server = DicomServer(Intake(full, store), ScpSettings(port=0))
    server.start()
    try:
        dataset = prepared(tmp_path, make_dataset(1, 1, kilobytes=500))
        assert send(server, dataset, dataset) == [0xA700, 0xA700]
        echo("127.0.0.1", server.port, "M3BIND")
    finally:
        server.stop()


def test_a_database_that_is_away_says_out_of_resources(
    tmp_path: Path, server: DicomServer, pool: Pool, spool: Spool
) -> None:
    pool.close()
    assert send(server, prepared(tmp_path, make_dataset(1, 1))) == [0xA700]
    assert list((spool.root / "incoming").iterdir()) == []


def test_an_association_cut_off_leaves_nothing_behind(
    tmp_path: Path, server: DicomServer, store: StudyStore, spool: Spool
) -> None:
    dataset = prepared(tmp_path, make_dataset(1, 1, kilobytes=4000))
    association = associate(server)
    incoming = spool.root / "incoming"
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    request.DataSet = BytesIO(b"\x00" * 100_000)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    pdus = list(message.encode_msg(1, 16382))
    for pdu in pdus[:-1]:
        association.dul.send_pdu(pdu)
    wait_until(lambda: any(path.stat().st_size > 90_000 for path in incoming.iterdir()), "half a data set")
    association.abort()
    wait_until(lambda: list(incoming.iterdir()) == [], "empty folder")
    assert sum(store.counts().values()) == 0


def under_an_unknown_context(association: Association) -> None:
    fragment(association, COMMAND | LAST, command_of(), context_id=77)
    fragment(association, DATA | LAST, b"\x00" * 1000, context_id=77)


def one_command_within_the_data_of_another(association: Association) -> None:
    fragment(association, COMMAND | LAST, command_of())
    fragment(association, DATA, b"\x00" * 1000)
    fragment(association, COMMAND | LAST, command_of("1.2.4", number=2))


def garbage_for_a_command(association: Association) -> None:
    fragment(association, COMMAND | LAST, b"\xff" * 40)


def garbage_within_a_data_set(association: Association) -> None:
    fragment(association, COMMAND | LAST, command_of())
    fragment(association, DATA, b"\x00" * 1000)
    fragment(association, COMMAND | LAST, b"\xff" * 40)


def a_command_without_a_number(association: Association) -> None:
    fragment(association, COMMAND | LAST, command_of(number=None))
    fragment(association, DATA | LAST, b"\x00" * 1000)


def an_overlong_uid(association: Association) -> None:
    fragment(association, COMMAND | LAST, command_of("1." * 40 + "1"))


def a_command_without_an_end(association: Association) -> None:
    for _ in range(20):
        fragment(association, COMMAND, b"\x00" * 8000)


def data_without_an_end_that_is_no_object(association: Association) -> None:
    command = Dataset()
    command.AffectedSOPClassUID = VERIFICATION
    command.CommandField, command.MessageID, command.CommandDataSetType = 0x0030, 1, 0x0001
    encoded = encode(command, True, True)
    assert encoded is not None
    fragment(association, COMMAND | LAST, encoded)
    for _ in range(12):
        fragment(association, DATA, b"\x00" * 100_000)


@pytest.mark.parametrize(
    "break_it",
    [
        under_an_unknown_context,
        one_command_within_the_data_of_another,
        garbage_for_a_command,
        garbage_within_a_data_set,
        a_command_without_a_number,
        an_overlong_uid,
        a_command_without_an_end,
        data_without_an_end_that_is_no_object,
    ],
)
def test_a_peer_that_breaks_the_protocol_is_aborted_and_leaves_nothing(
    server: DicomServer, store: StudyStore, spool: Spool, break_it: Callable[[Association], None]
) -> None:
    association = associate(server)
    break_it(association)
    wait_until(lambda: association.is_aborted, "abort", seconds=8)
    wait_until(lambda: list((spool.root / "incoming").iterdir()) == [], "empty folder", seconds=8)
    echo("127.0.0.1", server.port, "M3BIND")
    assert sum(store.counts().values()) == 0


def test_one_association_too_many_is_rejected(server: DicomServer) -> None:
    opened = [associate(server) for _ in range(4)]
    entity = AE("ONE_TOO_MANY")
    entity.add_requested_context(CTImageStorage)
    fifth = entity.associate("127.0.0.1", server.port)
    assert fifth.is_rejected
    for association in opened:
        association.release()


def test_a_port_that_is_taken_names_the_setting(spool: Spool, store: StudyStore) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = DicomServer(Intake(spool, store), ScpSettings(port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match=r"dimse\.port"):
            other.start()
        with pytest.raises(ConfigError):
            _ = other.port
