"""A folder for files in passing, which are those of patients: nothing of them may outlive its process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from dicom_node.spool import storage_errors


class Scratch:
    """A folder below `root` of this process alone; `root` is shared with others on the same spool.

    Each holds a lock on its folder, which the kernel drops when the process ends, however it ends. Whoever
    comes next removes what nobody holds. Order of calls: `open`, `close`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder: Path | None = None
        self._lock: int | None = None

    def open(self) -> Path:
        """Clear what killed processes left, and return a new, empty folder. Raises StorageError."""
        with storage_errors(f"cannot use {self._root}"):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in self._root.iterdir():
                _remove_where_abandoned(leftover)
            while self._lock is None:
                self._folder = Path(tempfile.mkdtemp(dir=self._root))
                self._lock = _lock(self._folder)  # another process may have taken it for a leftover
            assert self._folder is not None  # noqa: S101 - the loop has set it
            return self._folder

    def close(self) -> None:
        """Remove the folder. Idempotent."""
        if self._lock is not None and self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


def _lock(folder: Path) -> int | None:
    """A handle that holds the folder; None where somebody else does, or it is gone."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    if os.fstat(handle).st_nlink == 0:
        os.close(handle)
        return None
    return handle


def _remove_where_abandoned(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    handle = _lock(path)
    if handle is not None:
        shutil.rmtree(path, ignore_errors=True)
        os.close(handle)
