"""Durable files: what was received and what was written, on one file system.

    incoming/      files on their way; a lock held by the writer tells them from leftovers
    instances/     <2 hex>/<study>/<series>/<sop instance>.dcm, as received, never changed
    reports/       <2 hex>/<study>/<sop instance>.dcm

A file becomes durable in this order: written, fsync, hard link to its final name, fsync of the folder, the
row in the store, and only then the first name is removed. A leftover of `incoming` with two names is
therefore complete but perhaps unknown to the store, one with a single name was never promised to anybody.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from dicom_node.errors import StorageError, StorageFullError
from dicom_node.records import StoredReport
from dicom_node.uids import check_uid

CHUNK = 1 << 20
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
MIN_FREE_BYTES = 1 << 30


class Draft:
    """A file on its way into the spool: write, then `Spool.place` it, then `discard` its first name.

    As a context manager it is discarded at the end of the block whatever happened; a file that was placed
    keeps its final name. `sha256` is over what was written by `write`, not by `write_unhashed`.
    """

    def __init__(self, folder: Path) -> None:
        with storage_errors("cannot write into the spool"):
            handle, name = _locked_file(folder)
        self.path = Path(name)
        self.size = 0
        self._file = os.fdopen(handle, "wb", buffering=0)
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Hex digest of what went through `write`."""
        return self._digest.hexdigest()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append and digest. Raises StorageFullError or StorageError."""
        self.write_unhashed(data)
        self._digest.update(data)

    def write_unhashed(self, data: bytes | bytearray | memoryview) -> None:
        """Append what is not part of the data set: preamble and file meta information."""
        with storage_errors("cannot write into the spool"):
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size += len(data)

    def sync(self) -> None:
        """Make the content durable."""
        with storage_errors("cannot write into the spool"):
            os.fsync(self._file.fileno())

    def discard(self) -> None:
        """Remove the first name and let go of the file. Idempotent."""
        if not self._file.closed:
            self.path.unlink(missing_ok=True)
            self._file.close()

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class Spool:
    """The folder `root`, shared by the processes of one machine; by those of several only where the file
    system carries hard links, fsync of folders and flock between them."""

    def __init__(self, root: Path, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
        """`min_free_bytes`: below this much free space nothing more is taken in."""
        self.root = root.expanduser().absolute()
        self._min_free = min_free_bytes
        self._incoming = self.root / "incoming"
        self._durable_folders: set[Path] = set()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the folders. Raises StorageError where they cannot be written or hard links do not work."""
        with storage_errors(f"cannot use the spool {self.root}"):
            for name in ("incoming", "instances", "reports"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            with Draft(self._incoming) as probe:
                link = probe.path.with_suffix(".link")
                try:
                    os.link(probe.path, link)
                except OSError as error:
                    raise StorageError(
                        f"the file system of the spool {self.root} makes no hard links "
                        f"({error.strerror}): put data_dir on a local disk"
                    ) from error
                link.unlink()

    def draft(self) -> Draft:
        """A new file in `incoming`. Raises StorageFullError when there is less room than agreed."""
        with storage_errors(f"cannot use the spool {self.root}"):
            room = os.statvfs(self._incoming)
        free = room.f_bavail * room.f_frsize
        if free < self._min_free:
            raise StorageFullError(
                f"the spool has {free >> 20} MiB free, less than spool.min_free_bytes "
                f"({self._min_free >> 20} MiB): make room or lower the setting"
            )
        return Draft(self._incoming)

    def instance_path(self, study_uid: str, series_uid: str, sop_instance_uid: str) -> Path:
        """Where an instance belongs. Raises UnreadableObjectError for what is not a UID."""
        study = check_uid(study_uid, "Study Instance UID")
        series = check_uid(series_uid, "Series Instance UID")
        name = check_uid(sop_instance_uid, "SOP Instance UID")
        return self.root / "instances" / _bucket(study) / study / series / f"{name}.dcm"

    def place(self, draft: Draft, target: Path) -> bool:
        """Give a draft its final name, durably. False, and nothing changes, when that name is taken."""
        draft.sync()
        with storage_errors("cannot write into the spool"):
            self._make_durable(target.parent)
            try:
                os.link(draft.path, target)
            except FileExistsError:
                return False
            _sync_folder(target.parent)
            return True

    def settle(self, target: Path) -> None:
        """Make the name of a file durable that another thread has just placed."""
        with storage_errors("cannot write into the spool"):
            self._make_durable(target.parent)
            _sync_folder(target.parent)

    def store_report(
        self,
        content: bytes,
        *,
        study_uid: str,
        series_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
    ) -> StoredReport:
        """Keep a Part 10 file that this node wrote, durably. The same UID replaces what a killed job left."""
        study = check_uid(study_uid, "Study Instance UID")
        name = check_uid(sop_instance_uid, "SOP Instance UID")
        target = self.root / "reports" / _bucket(study) / study / f"{name}.dcm"
        with self.draft() as draft:
            draft.write(content)
            draft.sync()
            with storage_errors("cannot write into the spool"):
                self._make_durable(target.parent)
                draft.path.replace(target)
                _sync_folder(target.parent)
        return StoredReport(
            sop_instance_uid, sop_class_uid, series_uid, study_uid, target, draft.size, draft.sha256
        )

    def sweep(self, adopt: Callable[[Path], None]) -> int:
        """To be called at start: clear `incoming` of what dead processes left; returns how many there were.

        A file that had got its final name already is handed to `adopt` first, which makes it known to the
        store where it is not; when that raises, the file stays for the next start.
        """
        found = 0
        for path in sorted(self._incoming.iterdir()):
            with _abandoned(path) as links:
                if links is None:
                    continue
                if links > 1:
                    adopt(path)
                path.unlink(missing_ok=True)
                found += 1
        return found

    def _make_durable(self, folder: Path) -> None:
        """Create `folder`, and make sure that its name and those above survive a power cut."""
        if folder in self._durable_folders and folder.exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        level = folder
        while level != self.root:
            level = level.parent
            _sync_folder(level)
        with self._lock:
            if len(self._durable_folders) > 10_000:
                self._durable_folders.clear()
            self._durable_folders.add(folder)


@contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """OSError becomes StorageFullError or StorageError; the message names no file of a patient."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StorageFullError(f"{doing}: no room left on the device") from error
        raise StorageError(f"{doing}: {error.strerror or type(error).__name__}") from error


def _locked_file(folder: Path) -> tuple[int, str]:
    """A new file with its writer's lock; made again when a sweep took it for a leftover in between."""
    while True:
        handle, name = tempfile.mkstemp(suffix=".part", dir=folder)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        os.close(handle)


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """The number of names of a leftover, held locked; None when its writer lives, or it is gone."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        links = os.fstat(handle).st_nlink
    except BlockingIOError:
        links = None
    try:
        yield links
    finally:
        os.close(handle)


def _bucket(uid: str) -> str:
    """256 folders, evenly filled: many file systems and tools dislike folders of many entries."""
    return hashlib.sha256(uid.encode("ascii")).hexdigest()[:2]


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
