"""What is known of the database without asking it, and who is called when it stays silent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from dicom_node.errors import DatabaseUnavailableError
from dicom_node.store.watch import DatabaseWatch
from tests.support.postgres import Databases
from tests.support.waiting import wait_until


@contextmanager
def watching(watch: DatabaseWatch) -> Iterator[DatabaseWatch]:
    watch.start()
    try:
        yield watch
    finally:
        watch.stop()


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    made = databases.create_empty()
    yield made
    databases.drop(made)


def alter(databases: Databases, url: str, clause: str) -> None:
    """Change a database, and break off whoever is connected to it: they see the change when they return."""
    name = url.split("?")[0].rsplit("/", 1)[1]
    with psycopg.connect(databases.server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} " + clause).format(sql.Identifier(name)))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )


def test_a_database_that_takes_no_changes_is_told_but_not_started_again(
    databases: Databases, url: str
) -> None:
    calls: list[str] = []
    with watching(
        DatabaseWatch(url, lambda: calls.append("revive"), every_seconds=0.05, patience_seconds=0.2)
    ) as watch:
        alter(databases, url, "SET default_transaction_read_only = on")
        wait_until(lambda: "takes no changes" in watch.trouble, "word of a standby")
        alter(databases, url, "SET default_transaction_read_only = off")
        wait_until(lambda: watch.trouble == "", "word of a primary")
    assert calls == []


def test_a_silent_database_is_started_again_until_it_answers(databases: Databases, url: str) -> None:
    calls: list[str] = []

    def revive() -> None:
        calls.append("revive")
        if len(calls) < 3:
            raise DatabaseUnavailableError("not yet")
        alter(databases, url, "ALLOW_CONNECTIONS true")

    with watching(DatabaseWatch(url, revive, every_seconds=0.05, patience_seconds=0.2)) as watch:
        wait_until(lambda: watch.trouble == "", "first answer")
        alter(databases, url, "ALLOW_CONNECTIONS false")
        wait_until(lambda: watch.trouble.startswith("the database does not answer"), "word of the loss")
        wait_until(lambda: watch.trouble == "", "word of its return")
    assert len(calls) >= 3


def test_a_server_that_is_not_ours_is_only_watched(databases: Databases, url: str) -> None:
    with watching(DatabaseWatch(url, None, every_seconds=0.05, patience_seconds=0.0)) as watch:
        alter(databases, url, "ALLOW_CONNECTIONS false")
        wait_until(lambda: watch.trouble != "", "word of the loss")
        alter(databases, url, "ALLOW_CONNECTIONS true")
        wait_until(lambda: watch.trouble == "", "word of its return")
