"""Bringing a database to the schema."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import procrastinate.schema
import psycopg
import pytest

from dicom_node.errors import ConfigError, DatabaseUnavailableError
from dicom_node.store.migrate import SCHEMA_FOLDER, migrate
from tests.support.postgres import Databases


def test_schema_files_are_numbered_without_gaps() -> None:
    numbers = [int(path.name.split("_")[0]) for path in sorted(SCHEMA_FOLDER.glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


def test_many_processes_may_migrate_at_once(databases: Databases) -> None:
    url = databases.create_empty()
    errors: list[Exception] = []

    def run() -> None:
        try:
            migrate(url)
        except (ConfigError, DatabaseUnavailableError, psycopg.Error) as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    migrate(url)
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM studies").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (0,)
        applied = connection.execute("SELECT number FROM schema_version ORDER BY number").fetchall()
    assert applied == [(1,), (2,), (3,)]
    databases.drop(url)


def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO schema_version (number, name) VALUES (999, '0999_later.sql')")
    with pytest.raises(ConfigError, match="999"):
        migrate(database_url)


def test_a_newer_queue_package_brings_its_migrations(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(procrastinate.schema.migrations_path, tmp_path / "migrations")
    later = tmp_path / "migrations" / "99.00.00_01_pre_add_colour.sql"
    later.write_text("ALTER TABLE procrastinate_jobs ADD COLUMN colour text", encoding="utf-8")
    monkeypatch.setattr(procrastinate.schema, "migrations_path", tmp_path / "migrations")
    migrate(database_url)
    migrate(database_url)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(colour) FROM procrastinate_jobs").fetchone() == (0,)


def test_a_database_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(DatabaseUnavailableError):
        migrate("postgresql://nobody@127.0.0.1:1/none")
