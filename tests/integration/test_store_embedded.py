"""The embedded PostgreSQL: who starts it, who stops it, and what a killed process leaves."""

from __future__ import annotations

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
from dicom_node.store.embedded import EmbeddedPostgres

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
