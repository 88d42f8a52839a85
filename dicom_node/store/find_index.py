"""The register of headers: what arrived is read once, and asked by attributes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from psycopg.types.json import Jsonb

from dicom_node.store import audit
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.find_facts import FoundRow, Header, Narrowing, Rows, Unread
from dicom_node.store.find_sql import (
    ADD_SERIES,
    ADD_STUDY,
    ANY_UNREAD,
    COMPUTED,
    CONDITIONS,
    FROM,
    INSTANCE_CONDITION,
    NAME_CONDITION,
    READ_ALL,
    READ_FIRST,
    SET_HEADER,
    UNREAD,
)

FEW_LEFT_OUT = frozenset({"from_date", "until_date", "modality_like", "modalities_in_study_like"})
"""Conditions that leave a great part of an archive: rows are then best read in their order."""

BATCH = 200
"""Rows that are fetched at once from the server's cursor: what an answer of any length takes of memory."""


class FindIndex:
    """The register over a pool. `root` is the spool's folder. Methods raise DatabaseUnavailableError."""

    def __init__(self, pool: Pool, root: Path) -> None:
        self._pool = pool
        self._root = root

    def any_unread(self) -> bool:
        """Whether headers are left to be read."""
        with transaction(self._pool) as connection:
            row = connection.execute(ANY_UNREAD).fetchone()
        return row is not None and bool(row[0])

    @contextmanager
    def reading(self, most: int) -> Iterator[tuple[Sequence[Unread], list[Header]]]:
        """Up to `most` instances that are not in the register, locked until the block ends; what the block
        puts into the list is then added."""
        headers: list[Header] = []
        with transaction(self._pool) as connection:
            rows = connection.execute(UNREAD, (most,)).fetchall()
            yield [Unread(row[0], row[1], row[2], self._root / row[3]) for row in rows], headers
            self._add(connection, headers)

    def _add(self, connection: Connection, headers: Sequence[Header]) -> None:
        # In one order everywhere, so that two processes never wait for each other.
        ordered = sorted(headers, key=lambda h: (h.study_uid, h.series_uid, h.sop_instance_uid))
        values = [{**_plain(header)} for header in ordered]
        with connection.cursor() as cursor:
            cursor.executemany(ADD_STUDY, values)
            cursor.executemany(ADD_SERIES, values)
            cursor.executemany(SET_HEADER, values)

    @contextmanager
    def rows(
        self, kind: Rows, narrowing: Narrowing, computed: Collection[str] = ()
    ) -> Iterator[Iterator[FoundRow]]:
        """The rows that may fulfil a query, one after the other through a cursor of the server.

        `computed`: tags of `find_sql.COMPUTED` to be told with each row; those of a series or an instance go
        only with such rows.
        """
        statement, values = _statement(kind, narrowing, computed)
        with transaction(self._pool) as connection, connection.cursor(name="found") as cursor:
            connection.execute(READ_ALL if any(name not in FEW_LEFT_OUT for name in values) else READ_FIRST)
            cursor.itersize = BATCH
            cursor.execute(statement, values)
            yield (_row(row, computed) for row in cursor)

    def note_asked(self, event: str, **detail: Any) -> None:
        """One line of the audit trail. `detail` is JSON and holds no value of a key."""
        with transaction(self._pool) as connection:
            audit.record(connection, event, **detail)


def _plain(header: Header) -> dict[str, Any]:
    fields = {name: getattr(header, name) for name in Header.__slots__}
    return {name: Jsonb(value) if isinstance(value, dict) else value for name, value in fields.items()}


def _statement(kind: Rows, narrowing: Narrowing, computed: Collection[str]) -> tuple[str, dict[str, Any]]:
    given = {name: value for name, value in asdict(narrowing).items() if value not in ((), None)}
    names = given.pop("names_like", ())
    values: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in given.items()
    }
    conditions = [CONDITIONS[name] for name in given]
    if names:
        numbered = {f"name_{n}": name for n, name in zip(count(), names, strict=False)}
        firsts = " OR ".join(f"s.patient_name LIKE %({place})s" for place in numbered)
        conditions.append(NAME_CONDITION.format(firsts=firsts))
        values |= {**numbered, "names_within": [f"%={name}=%" for name in names]}
    if kind is Rows.INSTANCES:
        conditions.append(INSTANCE_CONDITION)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    extra = "".join(f", {COMPUTED[tag]}" for tag in computed)
    return FROM[kind].format(computed=extra, conditions=where), values


def _row(row: Sequence[Any], computed: Collection[str]) -> FoundRow:
    return FoundRow(row[0], row[1], row[2], row[3], row[4], dict(zip(computed, row[5:], strict=True)))
