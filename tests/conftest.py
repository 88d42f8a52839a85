"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.spool import Spool
from dicom_node.store.database import Pool, open_pool
from dicom_node.store.studies import StudyStore
from tests.support.postgres import Databases, start_databases


@pytest.fixture(scope="session")
def databases() -> Iterator[Databases]:
    """A PostgreSQL server for the whole run."""
    # Not below pytest's own folder: its name may be too long for a Unix socket, and it is private to its
    # owner, whereas a server that is started by root runs as another user.
    folder = Path(tempfile.mkdtemp(prefix="m3pg"))
    folder.chmod(0o755)
    started = start_databases(folder)
    try:
        yield started
    finally:
        started.server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A fresh database with the schema."""
    url = databases.create()
    yield url
    databases.drop(url)


@pytest.fixture
def pool(database_url: str) -> Iterator[Pool]:
    """Connections to a fresh database."""
    opened = open_pool(database_url, size=4)
    yield opened
    opened.close()


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty spool with a floor of one byte."""
    made = Spool(tmp_path / "spool", min_free_bytes=1)
    made.open()
    return made


@pytest.fixture
def store(pool: Pool, spool: Spool) -> StudyStore:
    """An empty store over `spool`."""
    return StudyStore(pool, spool.root)
