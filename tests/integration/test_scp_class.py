"""Objects whose message names no class that is stored: each is refused, and the batch goes on."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from structlog.testing import capture_logs

from dicom_node.dimse.contexts import STUDY_ROOT_FIND, VERIFICATION
from dicom_node.dimse.server import DicomServer, ScpSettings
from dicom_node.intake import Intake
from dicom_node.spool import Spool
from dicom_node.store.studies import StudyStore
from tests.support.peers import require
from tests.support.raw_dimse import COMMAND, DATA, LAST, associate, command_of, fragment
from tests.support.small_dicom import ROOT, make_dataset, write_file


@pytest.fixture
def server(spool: Spool, store: StudyStore) -> Iterator[DicomServer]:
    started = DicomServer(Intake(spool, store), ScpSettings(port=0, idle_seconds=20))
    started.start()
    yield started
    started.stop()


def answers_to(association: Association, sop_class: str) -> tuple[int, str]:
    """Status and Error Comment for an object whose message names `sop_class`."""
    association._reactor_checkpoint.clear()
    fragment(association, COMMAND | LAST, command_of(sop_class=sop_class))
    fragment(association, DATA, b"\x00" * 1000)
    fragment(association, DATA | LAST, b"\x00" * 1000)
    _, response = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    assert isinstance(response, C_STORE)
    return int(str(response.Status)), str(response.ErrorComment)


@pytest.mark.parametrize("sop_class", ["31", "1.2.3.4.5", VERIFICATION, STUDY_ROOT_FIND])
def test_an_object_of_no_storage_class_is_refused_and_the_next_one_is_stored(
    tmp_path: Path, server: DicomServer, store: StudyStore, spool: Spool, sop_class: str
) -> None:
    good = dcmread(write_file(tmp_path / "good.dcm", make_dataset(1, 1), ExplicitVRLittleEndian))
    association = associate(server)
    with capture_logs() as told:
        status, comment = answers_to(association, sop_class)
    assert status == 0x0122
    assert sop_class in comment
    (line,) = [entry for entry in told if entry["event"] == "store.refused"]
    assert (line["calling_ae"], line["status"]) == ("TEST_SCU", "0x0122")
    assert sop_class in line["error"]
    assert list((spool.root / "incoming").iterdir()) == []
    assert association.send_c_store(good).Status == 0x0000
    association.release()
    assert len(store.instances(f"{ROOT}.1")) == 1


@pytest.mark.peer
def test_dcmtk_sends_on_after_an_object_whose_class_is_garbled(
    tmp_path: Path, server: DicomServer, store: StudyStore
) -> None:
    """SOP Class UID as UN: dcmtk takes the digits with which it shows such a value, names the class "31"."""
    (program,) = require("dcmsend")
    files = [write_file(tmp_path / f"{n}.dcm", make_dataset(1, n), ExplicitVRLittleEndian) for n in (1, 2, 3)]
    whole = files[0].read_bytes()
    length = len("1.2.840.10008.5.1.4.1.1.2") + 1
    known = b"\x08\x00\x16\x00UI" + struct.pack("<H", length)
    assert whole.count(known) == 1
    files[0].write_bytes(whole.replace(known, b"\x08\x00\x16\x00UN\x00\x00" + struct.pack("<I", length)))
    command = [str(program), "-v", "--no-halt", "-aec", "M3BIND", "127.0.0.1", str(server.port)]
    with capture_logs() as told:
        done = subprocess.run(
            [*command, *map(str, files)], capture_output=True, text=True, timeout=60, check=True
        )
    assert done.stderr.count("(Refused: SOPClassNotSupported)") == 1
    assert done.stderr.count("(Success)") == 2
    assert [entry["calling_ae"] for entry in told if entry["event"] == "store.refused"] == ["DCMSEND"]
    assert {item.sop_instance_uid for item in store.instances(f"{ROOT}.1")} == {
        str(dcmread(path).SOPInstanceUID) for path in files[1:]
    }
