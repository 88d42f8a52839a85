"""Bringing a database to the schema."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import procrastinate.schema
import psycopg
import pytest

from dicom_node.errors import ConfigError, DatabaseUnavailableError
from dicom_node.records import BundleIdentity
from dicom_node.store import migrate as store_migrate
from dicom_node.store.database import open_pool
from dicom_node.store.migrate import SCHEMA_FOLDER, migrate
from dicom_node.store.search_facts import Filters, Level
from dicom_node.store.search_index import SearchIndex
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
    assert applied == [(int(path.name.split("_")[0]),) for path in sorted(SCHEMA_FOLDER.glob("*.sql"))]
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


OLD_ROWS = """
INSERT INTO studies (study_uid, state, revision, bundle_name, bundle_version, bundle_digest)
VALUES ('1.2.1', 'reported', 2, 'mini', '1.0.0', 'new'), ('1.2.2', 'out_of_scope', 1, 'mini', '0.9.0', 'old');
INSERT INTO findings
    (study_uid, revision, ordinal, finding_id, modality, series_uid, probability, presence, body)
VALUES
    ('1.2.1', 2, 0, 'xray.effusion', 'xray', 's1', 0.75, 'present', '{}'),
    ('1.2.1', 2, 1, 'xray.edema', 'xray', 's1', 0.25, 'absent', '{}'),
    ('1.2.1', 1, 0, 'xray.nodule', 'xray', 's1', 0.5, 'unsure', '{}');
INSERT INTO vectors (study_uid, bundle_digest, view, series_uid, modality, in_scope, embedding)
VALUES
    ('1.2.1', 'new', 0, 's1', 'xray', true, '[1,0,0,0]'),
    ('1.2.1', 'new', 1, 's1', 'xray', true, '[0,1,0,0]'),
    ('1.2.1', 'new', 2, 's2', 'xray', false, '[0,0,0,1]'),
    ('1.2.1', 'old', 0, 's1', 'xray', true, '[1,0,0]'),
    ('1.2.2', 'old', 0, 's3', 'ct', false, '[0,0,1]');
"""
"""As the first two files of the schema held them; one bundle had three dimensions, the next four."""


def test_vectors_of_an_older_schema_are_in_the_index(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = databases.create_empty()
    for name in ("0001_studies.sql", "0002_fetches.sql"):
        shutil.copy(SCHEMA_FOLDER / name, tmp_path)
    with monkeypatch.context() as before:
        before.setattr(store_migrate, "SCHEMA_FOLDER", tmp_path)
        migrate(url)
    with psycopg.connect(url) as connection:
        connection.execute(OLD_ROWS)
    pool = open_pool(url, size=2)
    index = SearchIndex(pool)
    question = np.array([1, 0.5, 0, 0], dtype=np.float32)
    views = index.nearest(question, Filters("new"))
    assert [(found.study_uid, found.series_uid, found.view) for found in views] == [
        ("1.2.1", "s1", 0),
        ("1.2.1", "s1", 1),
    ]
    assert views[0].findings == {"xray.effusion": 0.75, "xray.edema": 0.25}
    assert (views[0].sex, views[0].study_date) == (None, None)
    (study,) = index.nearest(question, Filters("new", Level.STUDY))
    assert study.distance == pytest.approx(1 - 1.5 / np.sqrt(1.25) / np.sqrt(2), abs=1e-6)
    (stranger,) = index.nearest(np.ones(3, dtype=np.float32), Filters("old", Level.STUDY, in_scope=False))
    assert (stranger.study_uid, stranger.modality) == ("1.2.2", "ct")
    now = BundleIdentity("mini", "1.0.0", "new")
    told = {known.bundle.digest: (known.studies, known.waiting) for known in index.coverage(now)}
    assert told == {"new": (1, 1), "old": (1, 1)}  # both wait for what only the objects tell
    pool.close()
    databases.drop(url)


def test_a_database_that_is_not_there_is_told_as_such() -> None:
    with pytest.raises(DatabaseUnavailableError):
        migrate("postgresql://nobody@127.0.0.1:1/none")
