"""The matches of a query, one after the other."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from dicom_node.matching.attributes import Attributes
from dicom_node.matching.keys import Level
from dicom_node.matching.narrow import PATIENT_ID, ROWS, as_entries, computed_of, narrowing_of
from dicom_node.matching.query import Query
from dicom_node.matching.values import joined
from dicom_node.store.find_facts import FoundRow, Narrowing, Rows


class Rowed(Protocol):
    """The register; `store.find_index.FindIndex` is one."""

    def rows(
        self, kind: Rows, narrowing: Narrowing, computed: Collection[str] = ()
    ) -> AbstractContextManager[Iterator[FoundRow]]:
        """Rows that may fulfil a query."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """An entity that fulfils a query."""

    row: FoundRow
    told: Attributes
    """What an answer tells of it."""


@contextmanager
def matches(register: Rowed, query: Query, narrowing: Narrowing | None = None) -> Iterator[Iterator[Match]]:
    """The matches, read as they are taken: memory does not grow with their number. Studies come newest
    first. Raises DatabaseUnavailableError."""
    where = narrowing_of(query) if narrowing is None else narrowing
    with register.rows(ROWS[query.level], where, computed_of(query)) as rows:
        found = (match for row in rows if (match := match_of(query, row)) is not None)
        yield _one_each(found) if query.level is Level.PATIENT else found


def match_of(query: Query, row: FoundRow) -> Match | None:
    """The match that a row is; None where it is none."""
    attributes = {**row.attributes, **as_entries(row.computed.items())}
    return Match(row, query.told(attributes)) if query.fulfilled_by(attributes) else None


def _one_each(found: Iterator[Match]) -> Iterator[Match]:
    """The first match of every patient; studies without a Patient ID are nobody knows whose."""
    last: str | None = None
    for match in found:
        patient = joined(match.row.attributes.get(PATIENT_ID))
        if not patient or patient != last:
            yield match
        last = patient
