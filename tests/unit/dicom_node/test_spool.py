"""The spool's files: names, durability in order, leftovers, room."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from dicom_node.errors import StorageError, StorageFullError, UnreadableObjectError
from dicom_node.spool import Spool


def place(spool: Spool, content: bytes, name: str = "1.2.3.4") -> Path:
    target = spool.instance_path("1.2", "1.2.3", name)
    with spool.draft() as draft:
        draft.write(content)
        assert spool.place(draft, target)
    return target


def incoming(spool: Spool) -> list[Path]:
    return list((spool.root / "incoming").iterdir())


def test_a_placed_file_has_its_content_and_nothing_is_left_over(spool: Spool) -> None:
    target = place(spool, b"content")
    assert target.read_bytes() == b"content"
    assert target.parent == spool.root / "instances" / target.parents[2].name / "1.2" / "1.2.3"
    assert incoming(spool) == []


def test_what_is_there_is_never_overwritten(spool: Spool) -> None:
    target = place(spool, b"first")
    with spool.draft() as draft:
        draft.write(b"second")
        assert not spool.place(draft, target)
    assert target.read_bytes() == b"first"
    assert incoming(spool) == []


def test_a_draft_that_is_given_up_disappears(spool: Spool) -> None:
    def break_off() -> None:
        with spool.draft() as draft:
            draft.write(b"half of it")
            raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        break_off()
    assert incoming(spool) == []


def test_only_the_data_set_is_digested(spool: Spool) -> None:
    with spool.draft() as draft:
        draft.write_unhashed(b"head")
        draft.write(b"data")
        draft.write(memoryview(b" set"))
        assert draft.sha256 == hashlib.sha256(b"data set").hexdigest()
        assert draft.size == 12


def test_leftovers_without_a_name_are_removed_and_named_ones_adopted(spool: Spool) -> None:
    folder = spool.root / "incoming"
    (folder / "torn.part").write_bytes(b"torn")
    target = place(spool, b"placed")
    os.link(target, folder / "placed.part")
    adopted: list[bytes] = []
    assert spool.sweep(lambda path: adopted.append(path.read_bytes())) == 2
    assert adopted == [b"placed"]
    assert incoming(spool) == []
    assert target.read_bytes() == b"placed"


def test_the_drafts_of_living_writers_are_left_alone(spool: Spool) -> None:
    with spool.draft() as draft:
        draft.write(b"on its way")
        assert spool.sweep(lambda _: None) == 0
        assert incoming(spool) == [draft.path]


def test_a_leftover_that_cannot_be_adopted_waits_for_the_next_start(spool: Spool) -> None:
    target = place(spool, b"placed")
    leftover = spool.root / "incoming" / "placed.part"
    os.link(target, leftover)

    def refuse(_: Path) -> None:
        raise StorageError("no database")

    with pytest.raises(StorageError):
        spool.sweep(refuse)
    assert leftover.exists()


def test_below_the_floor_nothing_is_taken(tmp_path: Path) -> None:
    full = Spool(tmp_path, min_free_bytes=1 << 60)
    full.open()
    with pytest.raises(StorageFullError, match="min_free_bytes"):
        full.draft()


def test_a_full_device_is_told_as_such(spool: Spool) -> None:
    """/dev/full answers every write as a full disk does."""
    with spool.draft() as draft:
        handle = os.open("/dev/full", os.O_WRONLY)
        os.dup2(handle, draft._file.fileno())
        os.close(handle)
        with pytest.raises(StorageFullError):
            draft.write(b"x")


def test_a_folder_that_cannot_be_used_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot use the spool"):
        Spool(tmp_path / "file").open()


def test_a_file_system_without_hard_links_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As vfat answers; a test cannot mount one."""

    def refusing(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refusing)
    with pytest.raises(StorageError, match=r"hard links .*: put data_dir on a local disk"):
        Spool(tmp_path / "spool").open()
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


def test_a_report_is_kept_and_a_repeat_replaces_it(spool: Spool) -> None:
    names = {
        "study_uid": "1.2",
        "series_uid": "1.2.9",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.34",
        "sop_instance_uid": "1.2.9.1",
    }
    spool.store_report(b"of a killed job", **names)
    report = spool.store_report(b"report", **names)
    assert report.path.read_bytes() == b"report"
    assert (report.size, report.sha256) == (6, hashlib.sha256(b"report").hexdigest())
    assert report.path.is_relative_to(spool.root / "reports")
    assert incoming(spool) == []
    with pytest.raises(UnreadableObjectError):
        spool.store_report(b"report", **{**names, "sop_instance_uid": "../1"})


def test_a_folder_that_was_cleared_away_is_made_again(spool: Spool) -> None:
    target = place(spool, b"first")
    target.unlink()
    target.parent.rmdir()
    assert place(spool, b"second").read_bytes() == b"second"
