from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from dicom_node.errors import InputError, NotDicomError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.headers import read_instance, walk
from tests.support.pixel_objects import SAMPLES, base, radiograph, save

CHEST = SAMPLES / "xray" / "chest-pa.dcm"


def test_the_facts_of_a_file() -> None:
    ds = dcmread(CHEST)
    data = CHEST.read_bytes()
    start = (
        132 + 12 + ds.file_meta.FileMetaInformationGroupLength
    )  # preamble, DICM, the length element itself
    found = read_instance(CHEST)
    assert found.study_uid == ds.StudyInstanceUID
    assert found.series_uid == ds.SeriesInstanceUID
    assert found.sop_instance_uid == ds.SOPInstanceUID
    assert found.sop_class_uid == ds.SOPClassUID
    assert found.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
    assert found.size == len(data)
    assert found.sha256 == hashlib.sha256(data[start:]).hexdigest()


@pytest.mark.parametrize("path", sorted(SAMPLES.rglob("*.dcm")), ids=lambda p: p.stem)
def test_every_sample_is_read(path: Path) -> None:
    assert read_instance(path).path == path


def test_the_digest_is_of_the_data_set_alone(tmp_path: Path) -> None:
    ds = radiograph(np.zeros((4, 4), dtype=np.uint8))
    one = save(ds, tmp_path, "one")
    ds.file_meta.ImplementationVersionName = "ANOTHER"
    ds.file_meta.SourceApplicationEntityTitle = "SENDER"
    other = save(ds, tmp_path, "other")
    assert one.size != other.size
    assert one.sha256 == other.sha256


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_other_encodings(tmp_path: Path, syntax: str) -> None:
    ds = base("1.2.840.10008.5.1.4.1.1.1", "CR", syntax=syntax)
    assert save(ds, tmp_path).sop_instance_uid == ds.SOPInstanceUID


def test_a_file_without_preamble(tmp_path: Path) -> None:
    path = tmp_path / "bare"
    path.write_bytes(CHEST.read_bytes()[132:])
    assert read_instance(path).sha256 == read_instance(CHEST).sha256


def test_a_wrong_group_length_is_forgiven(tmp_path: Path) -> None:
    data = bytearray(CHEST.read_bytes())
    data[140:144] = (9999).to_bytes(4, "little")
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    assert read_instance(path).sha256 == read_instance(CHEST).sha256


@pytest.mark.parametrize("data", [b"", b"\x00" * 200, b"%PDF-1.7 and so on" * 20])
def test_other_files_are_not_dicom(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(data)
    with pytest.raises(NotDicomError):
        read_instance(path)


def test_a_dicomdir_is_told_apart(tmp_path: Path) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = Dataset()
    ds.file_meta = meta
    ds.FileSetID = "X"
    ds.save_as(tmp_path / "DICOMDIR", enforce_file_format=True)
    with pytest.raises(UnsupportedObjectError) as caught:
        read_instance(tmp_path / "DICOMDIR")
    assert caught.value.reason == "dicomdir"


@pytest.mark.parametrize("name", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID"])
def test_a_missing_identifier(tmp_path: Path, name: str) -> None:
    ds = dcmread(CHEST)
    del ds[name]
    ds.save_as(tmp_path / "x.dcm")
    with pytest.raises(UnreadableObjectError, match=name) as caught:
        read_instance(tmp_path / "x.dcm")
    assert caught.value.reason == "missing-uid"


@pytest.mark.parametrize("uid", ["../../etc/passwd", "1.2/3", "..", "1..2", "1.2.", "1" * 65])
def test_what_could_not_name_a_file_is_no_uid(tmp_path: Path, uid: str) -> None:
    data = CHEST.read_bytes()
    real = dcmread(CHEST).StudyInstanceUID
    element = b"\x20\x00\x0d\x00UI"
    at = data.index(element)
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    assert data[at + 8 : at + 8 + length].rstrip(b"\0").decode() == real
    new = uid.encode() + b"\0" * (len(uid) % 2)
    path = tmp_path / "x.dcm"
    path.write_bytes(data[:at] + element + len(new).to_bytes(2, "little") + new + data[at + 8 + length :])
    with pytest.raises(UnreadableObjectError) as caught:
        read_instance(path)
    assert caught.value.reason == "bad-uid"
    assert uid not in str(caught.value)


def test_leading_zeros_of_real_devices_are_taken(tmp_path: Path) -> None:
    data = CHEST.read_bytes()
    real = str(dcmread(CHEST).StudyInstanceUID).encode()
    other = b"1.02.003." + real[9:]
    path = tmp_path / "x.dcm"
    path.write_bytes(data.replace(real, other))
    assert read_instance(path).study_uid == other.decode()


def test_no_transfer_syntax(tmp_path: Path) -> None:
    ds = dcmread(CHEST)
    buffer = io.BytesIO()
    ds.save_as(buffer)
    data = buffer.getvalue().replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x11\x00UI", 1)
    (tmp_path / "x.dcm").write_bytes(data)
    with pytest.raises(UnreadableObjectError) as caught:
        read_instance(tmp_path / "x.dcm")
    assert caught.value.reason == "no-transfer-syntax"


def test_cut_short_anywhere_ends_in_an_input_error(tmp_path: Path) -> None:
    data = CHEST.read_bytes()
    path = tmp_path / "x.dcm"
    refused = 0
    for length in range(0, 1400, 7):
        path.write_bytes(data[:length])
        try:
            read_instance(path)
        except InputError:
            refused += 1
    assert refused > 50


def test_scrambled_headers_end_in_an_input_error(tmp_path: Path) -> None:
    data = np.frombuffer(CHEST.read_bytes()[:2000], dtype=np.uint8)
    rng = np.random.default_rng(7)
    path = tmp_path / "x.dcm"
    refused = 0
    for _ in range(300):
        broken = data.copy()
        places = rng.integers(0, len(broken), 20)
        broken[places] = rng.integers(0, 256, 20)
        path.write_bytes(broken.tobytes())
        try:
            read_instance(path)
        except InputError:
            refused += 1
    assert 0 < refused < 300


def test_a_broken_group_length_element_is_an_input_error(tmp_path: Path) -> None:
    data = bytearray(CHEST.read_bytes())
    data[138:140] = (6).to_bytes(2, "little")  # a UL of six bytes
    path = tmp_path / "x.dcm"
    path.write_bytes(data)
    with pytest.raises(InputError):
        read_instance(path)


def test_walk_lists_what_is_not_dicom(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "z").write_bytes(CHEST.read_bytes())
    (tmp_path / "a" / "notes.txt").write_text("nothing")
    instances, others = walk([tmp_path, CHEST, tmp_path / "missing"])
    assert [i.path for i in instances] == [tmp_path / "a" / "b" / "z", CHEST]
    assert [(o.path.name, o.reason) for o in others] == [
        ("notes.txt", "not-dicom"),
        ("missing", "cannot-open"),
    ]
