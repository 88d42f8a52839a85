"""The identity of an installation: made once, the same for ever, whatever killed the node."""

from __future__ import annotations

import fcntl
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dicom_node.config import Settings, load_settings
from dicom_node.node import device_observer


def settings_in(folder: Path) -> Settings:
    return load_settings(None, data_dir=folder)


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    first = device_observer(settings_in(tmp_path / "site"))
    assert uuid.UUID(first.serial_number).version == 4
    assert device_observer(settings_in(tmp_path / "site")) == first
    assert device_observer(settings_in(tmp_path / "other")).uid != first.uid


def test_a_kill_before_the_first_write_leaves_no_nameless_site(tmp_path: Path) -> None:
    """Two such sites would otherwise tell their reports under one device UID."""
    observers = []
    for site in ("one", "two"):
        (tmp_path / site).mkdir()
        (tmp_path / site / "installation").write_bytes(b"")
        observers.append(device_observer(settings_in(tmp_path / site)))
        assert device_observer(settings_in(tmp_path / site)) == observers[-1]
    assert all(observer.serial_number for observer in observers)
    assert observers[0].uid != observers[1].uid


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    with (tmp_path / "installation").open("a+") as file, ThreadPoolExecutor(4) as pool:
        fcntl.flock(file, fcntl.LOCK_EX)  # all of them wait here at once
        waiting = [pool.submit(device_observer, settings_in(tmp_path)) for _ in range(4)]
        assert not any(future.done() for future in waiting)
        fcntl.flock(file, fcntl.LOCK_UN)
        assert len({future.result().uid for future in waiting}) == 1
