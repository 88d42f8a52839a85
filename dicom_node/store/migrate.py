"""The schema: numbered SQL files, applied once each, in one transaction under a lock.

The queue's own tables come from procrastinate: the whole schema the first time, and later, when the package
has become newer, those of its migrations that this database has not seen.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager
from psycopg.rows import TupleRow

from dicom_node.errors import ConfigError, DatabaseUnavailableError

SCHEMA_FOLDER = Path(__file__).parent / "schema"
LOCK_KEY = 0x4D334249  # "M3BI": one process at a time migrates

CREATE_VERSION_TABLES = """
-- Which of our files, and which of procrastinate's migrations, this database has.
CREATE TABLE IF NOT EXISTS schema_version (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS procrastinate_migration (
    name       text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);
"""


def migrate(url: str) -> None:
    """Bring the database at `url` to the schema of this version. Idempotent, and safe from several processes.

    Raises ConfigError where the server cannot carry the node (no pgvector, fsync off, a newer schema),
    DatabaseUnavailableError where it does not answer.
    """
    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
            _require_durable(connection)
            _require_pgvector(connection)
            connection.execute(CREATE_VERSION_TABLES)
            _apply_queue(connection)
            _apply_ours(connection)
    except psycopg.OperationalError as error:
        raise DatabaseUnavailableError(
            "the database does not answer; check database.url and that PostgreSQL runs"
        ) from error


def _require_durable(connection: psycopg.Connection[TupleRow]) -> None:
    """Success is answered to a sender on the strength of a commit: it must reach the disk."""
    for setting in ("fsync", "full_page_writes"):
        row = connection.execute("SELECT current_setting(%s)", (setting,)).fetchone()
        if row is None or row[0] != "on":
            raise ConfigError(
                f"database.url: this PostgreSQL runs with {setting}=off and may lose studies; turn it on"
            )


def _require_pgvector(connection: psycopg.Connection[TupleRow]) -> None:
    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except (psycopg.errors.FeatureNotSupported, psycopg.errors.UndefinedFile) as error:
        raise ConfigError(
            "database.url: this PostgreSQL has no pgvector; install it (0.7 or later)"
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            "database.url: this user may not create extensions; "
            "let an administrator run CREATE EXTENSION vector"
        ) from error


def _apply_queue(connection: psycopg.Connection[TupleRow]) -> None:
    migrations = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    present = connection.execute("SELECT to_regclass('procrastinate_jobs') IS NOT NULL").fetchone()
    known = {str(row[0]) for row in connection.execute("SELECT name FROM procrastinate_migration")}
    if not (present and present[0]):
        connection.execute(SchemaManager.get_schema())
        fresh: list[Path] = migrations
    else:
        fresh = [path for path in migrations if path.name not in known]
        for path in fresh:
            connection.execute(path.read_bytes())
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO procrastinate_migration (name) VALUES (%s)", [(path.name,) for path in fresh]
        )


def _apply_ours(connection: psycopg.Connection[TupleRow]) -> None:
    known = {int(row[0]) for row in connection.execute("SELECT number FROM schema_version")}
    files = {int(path.name.split("_")[0]): path for path in sorted(SCHEMA_FOLDER.glob("*.sql"))}
    newer = sorted(known - files.keys())
    if newer:
        raise ConfigError(
            f"the database has schema {newer[-1]}, this version knows {max(files)}: "
            "run the version that made it"
        )
    for number in sorted(files.keys() - known):
        connection.execute(files[number].read_bytes())
        connection.execute(
            "INSERT INTO schema_version (number, name) VALUES (%s, %s)", (number, files[number].name)
        )
