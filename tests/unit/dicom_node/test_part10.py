"""The one reader of Part 10 heads, on what writers really leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.errors import NotDicomError, UnreadableObjectError
from dicom_node.intake import Intake
from dicom_node.part10 import read_part10_head
from dicom_node.pixels.headers import read_instance
from dicom_node.records import Instance
from dicom_node.spool import Spool
from dicom_node.store.states import Added
from tests.support.small_dicom import make_dataset, write_file


class Taking:
    """A ledger that takes everything."""

    def add_instance(self, instance: Instance, *, origin: str | None, calling_ae: str | None) -> Added:  # noqa: ARG002
        return Added.NEW

    def knows(self, sop_instance_uid: str) -> bool:  # noqa: ARG002
        return True


def odd(tmp_path: Path) -> dict[str, Path]:
    """The same data set under heads that differ."""
    plain = write_file(tmp_path / "plain.dcm", make_dataset(1, 1)).read_bytes()
    heads = {
        "plain": plain,
        "no preamble": plain[132:],
        "wrong length": plain[:140] + (9999).to_bytes(4, "little") + plain[144:],
        "no length": plain[:132] + plain[144:],
    }
    paths = {}
    for name, content in heads.items():
        paths[name] = tmp_path / f"{name}.dcm"
        paths[name].write_bytes(content)
    return paths


@pytest.mark.parametrize("name", ["plain", "no preamble", "wrong length", "no length"])
def test_the_door_and_the_readers_agree_on_odd_heads(tmp_path: Path, spool: Spool, name: str) -> None:
    path = odd(tmp_path)[name]
    expected = read_instance(tmp_path / "plain.dcm").sha256
    assert read_instance(path).sha256 == expected
    taken = Intake(spool, Taking()).accept_file(path).instance
    assert taken.sha256 == expected
    assert read_instance(taken.path).sha256 == expected


@pytest.mark.parametrize("content", [b"", b"\x00" * 200, b"%PDF-1.7 and so on" * 20])
def test_other_files_are_not_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NotDicomError):
        read_part10_head(tmp_path / "x")


@pytest.mark.parametrize("syntax", [b"", b"1.2/3\x00", b"../..\x00", b"\xff\xfe"])
def test_a_transfer_syntax_that_is_none_is_told(tmp_path: Path, syntax: bytes) -> None:
    element = b"\x02\x00\x10\x00UI" + len(syntax).to_bytes(2, "little") + syntax
    (tmp_path / "x").write_bytes(b"\x00" * 128 + b"DICM" + element)
    with pytest.raises(UnreadableObjectError) as caught:
        read_part10_head(tmp_path / "x")
    assert caught.value.reason == "no-transfer-syntax"
