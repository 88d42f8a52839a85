"""Functional groups from bytes and from data sets tell the same; odd ones are left to data sets."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels import groups
from dicom_node.pixels.ground import load_header
from dicom_node.pixels.groups import FrameFacts, frame_facts
from dicom_node.pixels.headers import read_instance
from tests.support.pixel_objects import enhanced_ct, save

PLACES = (0, 2.5, -5)


def rich() -> Dataset:
    """Some frames tell what others leave to the shared groups; one has a macro without a value."""
    ds = enhanced_ct(PLACES)
    scale, turned, kind = Dataset(), Dataset(), Dataset()
    scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = "2.5", "-1000", "HU_MOD"
    turned.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    first, second, third = ds.PerFrameFunctionalGroupsSequence
    first.PixelValueTransformationSequence = [scale]
    second.PlaneOrientationSequence = [turned]
    second.PixelValueTransformationSequence = [Dataset()]
    third.CTImageFrameTypeSequence = [kind]
    for number, frame in enumerate((first, second)):
        content = Dataset()
        content.FrameAcquisitionNumber, content.TemporalPositionIndex = number + 7, 70_000
        content.FrameAcquisitionDateTime = f"2026112215000{number}"
        frame.FrameContentSequence = [content]
    return ds


WANTED = [
    FrameFacts((1, 0, 0, 0, 1, 0), (0, 0, 0), 2.5, -1000, "HU_MOD", (), (7, 70_000)),
    FrameFacts((-1, 0, 0, 0, -1, 0), (0, 0, 2.5), 1, -1024, "HU", (), (8, 70_000)),
    FrameFacts(
        (1, 0, 0, 0, 1, 0), (0, 0, -5), 1, -1024, "HU", ("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"), ()
    ),
]


def read(ds: Dataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[FrameFacts], bool]:
    """The facts, and whether their bytes told them."""
    parsed: list[str] = []
    real = groups.items

    def counted(of: Dataset, keyword: str) -> Sequence[Dataset]:
        parsed.append(keyword)
        return real(of, keyword)

    monkeypatch.setattr(groups, "items", counted)
    return list(frame_facts(load_header(save(ds, folder)))), not parsed


@pytest.mark.parametrize(
    ("syntax", "by_bytes"),
    [
        (ExplicitVRLittleEndian, True),
        (ImplicitVRLittleEndian, True),
        (DeflatedExplicitVRLittleEndian, True),
        (ExplicitVRBigEndian, False),
    ],
)
def test_of_each_syntax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: UID, by_bytes: bool) -> None:
    ds = rich()
    ds.file_meta.TransferSyntaxUID = syntax
    assert read(ds, tmp_path, monkeypatch) == (WANTED, by_bytes)


@pytest.mark.parametrize("inner", [True, False])
def test_lengths_that_are_not_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inner: bool) -> None:
    ds = rich()
    for frame in ds.PerFrameFunctionalGroupsSequence:
        if inner:
            frame["PlanePositionSequence"].is_undefined_length = True
        else:
            frame.is_undefined_length_sequence_item = True
    assert read(ds, tmp_path, monkeypatch) == (WANTED, False)


def test_an_odd_number_is_told_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = enhanced_ct(PLACES)
    position = ds.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    position.add_new("ImagePositionPatient", "LO", ["0", "here", "1"])
    position["ImagePositionPatient"].VR = "UT"
    position["ImagePositionPatient"].value = "0\\here\\1"
    with pytest.raises(UnreadableObjectError) as caught:
        read(ds, tmp_path, monkeypatch)
    assert caught.value.reason == "bad-attribute"


def test_a_length_beyond_the_file_takes_no_memory(tmp_path: Path) -> None:
    path = save(enhanced_ct(PLACES), tmp_path).path
    content = bytearray(path.read_bytes())
    at = content.index(b"\x00\x52\x30\x92SQ") + 8
    content[at : at + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    loaded = load_header(read_instance(path))
    tracemalloc.start()
    assert groups.raw_value(loaded, "PerFrameFunctionalGroupsSequence") is None
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_none_where_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = enhanced_ct(PLACES)
    del ds.PerFrameFunctionalGroupsSequence
    assert read(ds, tmp_path, monkeypatch)[0] == []
