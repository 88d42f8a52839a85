"""A pool of connections, and the one place where the database's errors become the project's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from pgvector.psycopg import register_vector
from procrastinate.exceptions import ConnectorException
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from dicom_node.errors import DatabaseUnavailableError, StorageFullError
from dicom_node.store.migrate import migrate

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]

WAIT_SECONDS = 10.0
"""For a free connection; senders wait 30 s or more for the answer to a C-STORE."""


def open_pool(url: str, *, size: int = 8, wait_seconds: float = WAIT_SECONDS) -> Pool:
    """Migrate the database at `url` and open a pool of at most `size` connections, for
    which callers wait at most `wait_seconds`.

    Every connection commits durably, whatever the server's default for synchronous_commit.
    The caller closes the pool. Raises ConfigError and DatabaseUnavailableError as `migrate` does.
    """
    migrate(url)
    pool: Pool = ConnectionPool(
        url,
        min_size=1,
        max_size=size,
        timeout=wait_seconds,
        kwargs={"options": "-c synchronous_commit=on", "application_name": "dicom-node"},
        configure=_configure,
        check=ConnectionPool.check_connection,
        open=False,
    )
    try:
        pool.open(wait=True, timeout=wait_seconds)
    except PoolTimeout as error:
        pool.close()
        raise DatabaseUnavailableError("the database does not answer; check that PostgreSQL runs") from error
    return pool


def _configure(connection: Connection) -> None:
    register_vector(connection)
    connection.commit()


@contextmanager
def transaction(pool: Pool) -> Iterator[Connection]:
    """A connection with a transaction: committed at the end of the block, rolled back by an exception.

    Raises DatabaseUnavailableError when the database cannot be reached or breaks off (whether the commit
    took effect is then unknown: every statement here may be repeated), StorageFullError when its disk is
    full.
    """
    try:
        with pool.connection() as connection:
            yield connection
    except psycopg.errors.DiskFull as error:
        raise StorageFullError("the database has no room left on its disk; free some") from error
    except (psycopg.OperationalError, psycopg.InterfaceError, PoolTimeout, ConnectorException) as error:
        raise DatabaseUnavailableError(
            f"the database does not answer ({type(error).__name__}); check that PostgreSQL runs"
        ) from error
