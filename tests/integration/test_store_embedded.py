"""The embedded PostgreSQL: who starts it, who stops it, and what a killed process leaves."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from dicom_node.errors import DatabaseUnavailableError
from dicom_node.store import server_place
from dicom_node.store.embedded import EmbeddedPostgres

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives PostgreSQL another user")

HOLD = """
import sys
from pathlib import Path
from dicom_node.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """One for all tests: making a database from nothing takes seconds. Each test leaves it stopped."""
    made = Path(tempfile.mkdtemp(prefix="m3pg"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def hold(folder: Path) -> subprocess.Popen[str]:
    """Another process with the server of `folder`, which leaves when its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder / "pg")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("postgresql://")
    return process


def runs(folder: Path) -> bool:
    return (folder / "pg" / "postmaster.pid").exists()


def write_row(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("DROP TABLE IF EXISTS kept")
        connection.execute("CREATE TABLE kept (n integer)")
        connection.execute("INSERT INTO kept VALUES (1)")


def rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
        assert row is not None
        return int(row[0])


def test_data_survives_stop_and_start_and_nothing_listens_on_tcp(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        assert server.was_alone
        write_row(server.url)
        with psycopg.connect(server.url) as connection:
            for setting, value in (("listen_addresses", ""), ("fsync", "on"), ("synchronous_commit", "on")):
                row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
                assert row == (value,)
    assert not runs(folder)
    with EmbeddedPostgres(folder / "pg") as server:
        assert rows(server.url) == 1
    with pytest.raises(DatabaseUnavailableError):
        _ = server.url


def test_the_last_process_to_leave_stops_it(folder: Path) -> None:
    other = hold(folder)
    with EmbeddedPostgres(folder / "pg") as server:
        assert not server.was_alone
        other.communicate(timeout=30)
        assert runs(folder)
        write_row(server.url)
    assert not runs(folder)


def test_one_that_leaves_first_lets_the_others_work_on(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        url = server.url
        other = hold(folder)
    assert runs(folder)
    write_row(url)
    other.communicate(timeout=30)
    assert not runs(folder)


def test_a_killed_process_leaves_a_server_that_the_next_one_takes_over(folder: Path) -> None:
    killed = hold(folder)
    killed.send_signal(signal.SIGKILL)
    killed.communicate(timeout=30)
    assert runs(folder)
    with EmbeddedPostgres(folder / "pg") as server:
        assert server.was_alone
        write_row(server.url)
    assert not runs(folder)


def test_a_killed_server_recovers_what_was_committed(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        write_row(server.url)
        postmaster = int((folder / "pg" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
        os.kill(postmaster, signal.SIGKILL)
    with EmbeddedPostgres(folder / "pg") as server:
        assert rows(server.url) == 1


def test_a_pid_file_that_names_another_program_is_not_believed(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        write_row(server.url)
        lines = (folder / "pg" / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    lines[0] = str(os.getpid())  # as after a reboot: the number is in use again
    (folder / "pg" / "postmaster.pid").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with EmbeddedPostgres(folder / "pg") as server:
        assert rows(server.url) == 1


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg"):
        pass
    conf = folder / "pg" / "postgresql.conf"
    good = conf.read_text(encoding="utf-8")
    conf.write_text(good + "\nshared_buffers = 'much'\n", encoding="utf-8")
    try:
        with pytest.raises(DatabaseUnavailableError, match="shared_buffers"):
            EmbeddedPostgres(folder / "pg").start()
    finally:
        conf.write_text(good, encoding="utf-8")


def test_a_folder_that_cannot_be_used_is_named(folder: Path) -> None:
    (folder / "a-file").touch()
    for below in (folder / "a-file" / "pg", folder / "a-file" / "data" / "pg"):
        with pytest.raises(DatabaseUnavailableError, match=r"cannot use .*a-file.*another data_dir"):
            EmbeddedPostgres(below).start()


def postmaster(folder: Path) -> int:
    return int((folder / "pg" / "postmaster.pid").read_text(encoding="utf-8").split()[0])


def test_a_start_that_fails_late_leaves_no_server_running(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg"):
        pass
    rules = folder / "pg" / "pg_hba.conf"
    good = rules.read_text(encoding="utf-8")
    rules.write_text("local all all reject\n", encoding="utf-8")  # the server runs, and lets nobody in
    try:
        with pytest.raises(DatabaseUnavailableError, match="not ready"):
            EmbeddedPostgres(folder / "pg", ready_seconds=0.1).start()
        assert not runs(folder)
    finally:
        rules.write_text(good, encoding="utf-8")


def test_a_server_that_dies_is_brought_up_again_for_those_who_hold_it(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        write_row(server.url)
        url, killed = server.url, postmaster(folder)
        os.kill(killed, signal.SIGKILL)
        server.revive()
        assert postmaster(folder) != killed
        assert rows(url) == 1
        alive = postmaster(folder)
        server.revive()
        assert postmaster(folder) == alive
    server.revive()
    assert not runs(folder)


def test_a_first_start_that_was_cut_off_does_not_spoil_the_next(folder: Path) -> None:
    half = folder / "again.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n", encoding="utf-8")
    with EmbeddedPostgres(folder / "again") as server:
        write_row(server.url)
    assert not half.exists()
    EmbeddedPostgres(folder / "again").discard()
    assert not (folder / "again").exists()


def test_a_database_in_use_is_not_discarded(folder: Path) -> None:
    with EmbeddedPostgres(folder / "pg") as server:
        write_row(server.url)
        with pytest.raises(DatabaseUnavailableError, match="another process"):
            EmbeddedPostgres(folder / "pg").discard()
        assert rows(server.url) == 1


def private_package(private: Path) -> None:
    """A copy of the package with the programs, as in a virtual environment that is its owner's alone."""
    found = importlib.util.find_spec(server_place.MODULE)
    assert found is not None
    assert found.origin is not None
    package = Path(found.origin).parent
    made = private / server_place.MODULE
    made.mkdir()
    (made / "__init__.py").touch()
    shutil.copytree(package / server_place.INSTALLATION, made / server_place.INSTALLATION, symlinks=True)
    libraries = package.with_name(f"{server_place.MODULE}.libs")
    shutil.copytree(libraries, private / libraries.name)


@ROOT_ONLY
def test_root_widens_no_folder_and_finds_its_database_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone below a home that is its owner's alone, with the virtual environment in it."""
    monkeypatch.setattr(server_place, "HOME", folder / "home")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(folder / "elsewhere"))
    private = folder / "private"
    data = private / "clone" / "data"
    data.mkdir(parents=True)
    private.chmod(0o700)
    private_package(private)
    monkeypatch.syspath_prepend(str(private))
    with EmbeddedPostgres(data / "postgres") as server:
        write_row(server.url)
        place = server.folder
        assert (data / "postgres").readlink() == place
        assert place.is_relative_to(folder / "home")
        assert postmaster_runs_from(folder / "home", place)
    with EmbeddedPostgres(data / "postgres") as server:
        assert server.folder == place
        assert rows(server.url) == 1
    assert [private.stat().st_mode & 0o777, folder.stat().st_mode & 0o777] == [0o700, 0o755]
    EmbeddedPostgres(data / "postgres").discard()
    assert not place.exists()
    assert not (data / "postgres").is_symlink()


def postmaster_runs_from(home: Path, place: Path) -> bool:
    """Whether the server of `place` is another user's process, started from a copy of the programs."""
    process = Path("/proc") / (place / "postmaster.pid").read_text(encoding="utf-8").split()[0]
    return process.stat().st_uid != 0 and (process / "exe").readlink().is_relative_to(home)


@ROOT_ONLY
def test_a_lost_database_is_not_replaced_by_an_empty_one(folder: Path) -> None:
    (folder / "lost").symlink_to(folder / "gone" / "cluster")
    with pytest.raises(DatabaseUnavailableError, match="which is not there"):
        EmbeddedPostgres(folder / "lost").start()


@ROOT_ONLY
def test_a_database_that_its_user_cannot_reach_is_told_and_nothing_is_widened(folder: Path) -> None:
    closed = folder / "closed"
    (closed / "pg").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(DatabaseUnavailableError, match=r"chmod o\+x"):
        EmbeddedPostgres(closed / "pg").start()
    assert closed.stat().st_mode & 0o777 == 0o700
