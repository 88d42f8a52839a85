"""A real PostgreSQL for tests: one embedded server for the run, a database of its own for each test."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from dicom_node.store.embedded import DATABASE, EmbeddedPostgres
from dicom_node.store.migrate import migrate

TEMPLATE = "m3bind_template"


@dataclass(slots=True)
class Databases:
    """Databases with the schema applied, copied from a template within a few hundredths of a second."""

    server: EmbeddedPostgres
    _count: itertools.count[int] = field(default_factory=itertools.count)

    def create(self) -> str:
        """The URL of a fresh database."""
        name = f"t{os.getpid()}_{next(self._count)}"
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(TEMPLATE)))
        return self._url(name)

    def create_empty(self) -> str:
        """The URL of a database without anything in it."""
        name = f"t{os.getpid()}_{next(self._count)}"
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        name = url.split("?")[0].rsplit("/", 1)[1]
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def _url(self, name: str) -> str:
        return self.server.url.replace(f"/{DATABASE}?", f"/{name}?")


def start_databases(folder: Path) -> Databases:
    """Start the server in `folder` and make the template. The caller stops `server`."""
    server = EmbeddedPostgres(folder / "pg")
    server.start()
    databases = Databases(server)
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(databases._url(TEMPLATE))
    return databases
