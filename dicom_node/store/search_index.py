"""Questions to the index: the rows nearest to a vector, under filters.

Rows that fulfil the filters are found in one of two ways, whichever promises to read less. The HNSW graph is
walked from near to far until enough of them have come by: the fewer there are, the longer that takes. Or all
of them are looked at, found by the indexes of their attributes: the more there are, the longer that takes.
The graph holds vectors in half precision; what it leads to is ranked again in full precision.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString

import numpy as np
from numpy.typing import NDArray

from dicom_node.records import BundleIdentity
from dicom_node.store import search_sql
from dicom_node.store.database import Connection, Pool, transaction
from dicom_node.store.search_facts import BundleCoverage, Candidate, Filters, FindingRange, Level, Region
from dicom_node.store.vectors import EDITION

WIDEST_GRAPH = 4000
"""Dimensions of halfvec that HNSW can hold (pgvector 0.8)."""
MARKS = 10
"""Steps of probability that the index of findings tells apart: `finding_marks` in schema/0003_search.sql."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How hard the graph is searched. docs/SEARCH.md tells how the numbers were chosen."""

    ef_search: int = 200
    """Candidates that the walk through the graph keeps in mind: more find more, and take longer."""
    drawn: int = 4
    """Rows that are taken from the graph for each answer wanted, to be ranked in full precision."""
    most_visited: int = 100_000
    """Rows after which the walk gives up."""
    visit_cost: float = 3.0
    """What a row costs that the graph leads to, in rows that the filters' indexes lead to."""


@dataclass(frozen=True, slots=True)
class _Space:
    number: int
    width: int
    rows: float
    places: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Where:
    """A condition of SQL, and what it needs."""

    exact: LiteralString
    """On the attributes themselves."""
    indexed: LiteralString
    """With what the index of findings can find: follows from `exact`, and costs time for each row."""
    estimated: LiteralString
    """Only what the planner has statistics of; probabilities it knows by their marks alone."""
    values: dict[str, Any]
    filtered: bool
    """Whether anything but the space and the scope is asked for."""


class SearchIndex:
    """The index behind a pool. Every method is one transaction and raises DatabaseUnavailableError."""

    def __init__(self, pool: Pool, tuning: Tuning | None = None) -> None:
        self._pool = pool
        self._tuning = Tuning() if tuning is None else tuning

    def nearest(self, vector: NDArray[np.float32], filters: Filters, limit: int = 10) -> list[Candidate]:
        """As the function `nearest`."""
        with transaction(self._pool) as connection:
            return nearest(connection, vector, filters, limit, self._tuning)

    def newest(self, filters: Filters, limit: int = 10) -> list[Candidate]:
        """As the function `newest`."""
        with transaction(self._pool) as connection:
            return newest(connection, filters, limit)

    def by_finding(
        self, finding_id: str, filters: Filters, limit: int = 10, *, absent: bool = False
    ) -> list[Candidate]:
        """As the function `by_finding`."""
        with transaction(self._pool) as connection:
            return by_finding(connection, finding_id, filters, limit, absent=absent)

    def count(self, filters: Filters, most: int = 10_000) -> int:
        """As the function `count`."""
        with transaction(self._pool) as connection:
            return count(connection, filters, most)

    def vectors_of(
        self, bundle: str, level: Level, *, study_uid: str, series_uid: str | None = None
    ) -> NDArray[np.float32]:
        """As the function `vectors_of`."""
        with transaction(self._pool) as connection:
            return vectors_of(connection, bundle, level, study_uid=study_uid, series_uid=series_uid)

    def coverage(self, current: BundleIdentity | None = None) -> tuple[BundleCoverage, ...]:
        """As the function `coverage`."""
        with transaction(self._pool) as connection:
            return coverage(connection, current)


def nearest(
    connection: Connection,
    vector: NDArray[np.float32],
    filters: Filters,
    limit: int = 10,
    tuning: Tuning | None = None,
) -> list[Candidate]:
    """At most `limit` rows that fulfil the filters, nearest to `vector` first.

    `vector` (D,) need not have unit norm. Settings of the transaction are changed until its end. Nothing is
    found where the bundle has no rows at this level. Raises ValueError where D is not the bundle's, or the
    vector is zero or not finite.
    """
    tuning = Tuning() if tuning is None else tuning
    space = _open(connection, filters)
    if space is None or limit < 1:
        return []
    drawn = limit * tuning.drawn
    where = _where(space, filters)
    values = {**where.values, "vector": _unit(vector, space.width), "limit": limit, "drawn": drawn}
    _tune(connection, tuning, drawn)
    if space.width <= WIDEST_GRAPH and not (where.filtered and _few(connection, space, where, drawn, tuning)):
        walk = _told(search_sql.BY_GRAPH, where.exact, width=str(space.width))
        rows = connection.execute(walk, values, prepare=False).fetchall()
        if len(rows) == limit:
            return _candidates(rows, filters.level, space)
    # Few rows, or fewer near ones than the walk had patience for: the statistics may be old.
    look = _told(search_sql.BY_FILTER, where.indexed)
    rows = connection.execute(look, values, prepare=False).fetchall()
    return _candidates(rows, filters.level, space)


def newest(connection: Connection, filters: Filters, limit: int = 10) -> list[Candidate]:
    """At most `limit` rows that fulfil the filters, by Study Date, newest first, then those without one."""
    space = _open(connection, filters)
    if space is None:
        return []
    where = _where(space, filters)
    statement = _told(search_sql.NEWEST, where.indexed)
    rows = connection.execute(statement, {**where.values, "limit": limit}, prepare=False).fetchall()
    return _candidates(rows, filters.level, space)


def by_finding(
    connection: Connection, finding_id: str, filters: Filters, limit: int = 10, *, absent: bool = False
) -> list[Candidate]:
    """At most `limit` rows that fulfil the filters and in which somebody looked for the finding, the most
    probable first; with `absent` the least probable first."""
    space = _open(connection, filters)
    if space is None or finding_id not in space.places:
        return []
    order = "ASC" if absent else "DESC"
    rows: Sequence[Sequence[Any]] = ()
    # A tenth of the scale at a time: where many have it, only those are looked at.
    for step in range(1, MARKS + 1):
        part = step / MARKS
        bounds = FindingRange(finding_id, most=part) if absent else FindingRange(finding_id, least=1 - part)
        where = _where(space, replace(filters, findings=(*filters.findings, bounds)))
        values = {**where.values, "place": space.places[finding_id], "limit": limit}
        statement = _told(search_sql.BY_PROBABILITY, where.indexed, order=order)
        rows = connection.execute(statement, values, prepare=False).fetchall()
        if len(rows) == limit:
            break
    return _candidates(rows, filters.level, space)


def count(connection: Connection, filters: Filters, most: int = 10_000) -> int:
    """How many rows fulfil the filters; nobody counts beyond `most`."""
    space = _open(connection, filters)
    if space is None:
        return 0
    where = _where(space, filters)
    statement = search_sql.COUNT.format(where=where.indexed)
    row = connection.execute(statement, {**where.values, "most": most}, prepare=False).fetchone()
    return 0 if row is None else int(row[0])


def vectors_of(
    connection: Connection, bundle: str, level: Level, *, study_uid: str, series_uid: str | None = None
) -> NDArray[np.float32]:
    """(N, D) unit-norm rows of a study, or of one series of it, in the order of its views; (0, 0) where the
    bundle has none. A question by example needs no encoder."""
    space = _open(connection, Filters(bundle, level))
    if space is None:
        return np.zeros((0, 0), dtype=np.float32)
    values = {"space": space.number, "study_uid": study_uid, "series_uid": series_uid}
    found = connection.execute(search_sql.VECTORS_OF, values).fetchall()
    if not found:
        return np.zeros((0, 0), dtype=np.float32)
    return np.asarray([row.to_numpy() for (row,) in found], dtype=np.float32)


def coverage(connection: Connection, current: BundleIdentity | None = None) -> tuple[BundleCoverage, ...]:
    """Which bundles the index speaks for, the one with most studies first. `waiting` and `stuck` are those
    that the `current` one is to take over."""
    values = {"current": None if current is None else current.digest, "edition": EDITION}
    found = connection.execute(search_sql.COVERAGE, values).fetchall()
    return tuple(BundleCoverage(BundleIdentity(row[0], row[1], row[2]), *row[3:]) for row in found)


def _told(statement: LiteralString, where: LiteralString, **parts: LiteralString) -> LiteralString:
    """A statement of `search_sql.py` with its parts put in; values come separately."""
    return statement.format(where=where, answer=search_sql.ANSWER, **parts)


def _open(connection: Connection, filters: Filters) -> _Space | None:
    values = {"bundle": filters.bundle, "level": filters.level.value}
    row = connection.execute(search_sql.OPEN_SPACE, values).fetchone()
    return None if row is None else _Space(int(row[0]), int(row[1]), float(row[2]), row[3])


def _tune(connection: Connection, tuning: Tuning, drawn: int) -> None:
    values = {
        # pgvector takes 1 to 1,000; below what is drawn it could not even hold the answer.
        "ef_search": str(min(max(tuning.ef_search, drawn), 1000)),
        "most_visited": str(tuning.most_visited),
    }
    connection.execute(search_sql.TUNE, values)


def _few(connection: Connection, space: _Space, where: _Where, drawn: int, tuning: Tuning) -> bool:
    """Whether it takes less to look at all rows that fulfil the filters than to walk until enough came by.

    Of N rows n fulfil them: the walk visits about ef * N / n rows, the look n.
    """
    statement = search_sql.ESTIMATE.format(where=where.estimated)
    row = connection.execute(statement, where.values, prepare=False).fetchone()
    if row is None:
        return False
    fulfil = float(row[0][0]["Plan"]["Plan Rows"])
    visited = max(tuning.ef_search, drawn) * max(space.rows, fulfil) / max(fulfil, 1.0)
    return fulfil <= tuning.visit_cost * visited


def _unit(vector: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    if vector.shape != (width,):
        raise ValueError(f"the bundle's vectors have {width} dimensions; this one has shape {vector.shape}")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not (math.isfinite(length) and length > 0):
        raise ValueError("a question's vector must be finite and not zero")
    return np.asarray(vector / np.float32(length), dtype=np.float32)


def _candidates(rows: Sequence[Sequence[Any]], level: Level, space: _Space) -> list[Candidate]:
    names = {place: finding_id for finding_id, place in space.places.items()}
    return [_candidate(row, level, names) for row in rows]


def _candidate(row: Sequence[Any], level: Level, names: Mapping[int, str]) -> Candidate:
    distance, study, series, view, modality, taken, sex, age, part, side, patient, scored, found, place = row
    return Candidate(
        study_uid=study,
        level=level,
        distance=None if distance is None else float(distance),
        series_uid=series,
        view=view,
        modality=modality,
        study_date=taken,
        sex=sex,
        age=age,
        body_part=part,
        laterality=side,
        patient_id=patient,
        findings={
            names[at]: float(probability)
            for at, probability in enumerate(scored, start=1)
            if probability is not None
        },
        region=None if found is None else Region(found, place),
    )


LISTED: tuple[tuple[str, LiteralString], ...] = (
    ("modalities", "modality = ANY(%(modalities)s)"),
    ("sexes", "sex = ANY(%(sexes)s)"),
    ("body_parts", "body_part = ANY(%(body_parts)s)"),
    ("lateralities", "laterality = ANY(%(lateralities)s)"),
    ("patient_ids", "patient_id = ANY(%(patient_ids)s)"),
    ("study_uids", "study_uid = ANY(%(study_uids)s)"),
    ("series_uids", "series_uid = ANY(%(series_uids)s)"),
    ("not_study_uids", "study_uid <> ALL(%(not_study_uids)s)"),
    ("not_patient_ids", "(patient_id IS NULL OR patient_id <> ALL(%(not_patient_ids)s))"),
)
"""Fields of Filters that list values, and what they ask for."""
BOUNDED: tuple[tuple[str, LiteralString], ...] = (
    ("from_date", "study_date >= %(from_date)s"),
    ("until_date", "study_date <= %(until_date)s"),
    ("least_age", "age >= %(least_age)s"),
    ("most_age", "age <= %(most_age)s"),
    ("born_from", "birth_year >= %(born_from)s"),
    ("born_until", "birth_year <= %(born_until)s"),
)
"""Fields that are one value or None."""


def _where(space: _Space, filters: Filters) -> _Where:
    values: dict[str, Any] = {"space": space.number}
    exact: list[LiteralString] = ["space = %(space)s"]
    for name, condition in LISTED:
        if listed := getattr(filters, name):
            values[name] = list(listed)
            exact.append(condition)
    for name, condition in BOUNDED:
        if (bound := getattr(filters, name)) is not None:
            values[name] = bound
            exact.append(condition)
    if filters.in_scope is not None:
        exact.append("in_scope" if filters.in_scope else "NOT in_scope")
    scored: list[LiteralString] = []
    marked: list[LiteralString] = []
    for number, asked in enumerate(filters.findings):
        condition, marks, needed = _finding(number, asked, space.places)
        scored.append(condition)
        marked.extend(marks)
        values.update(needed)
    return _Where(
        exact=" AND ".join([*exact, *scored]),
        indexed=" AND ".join([*exact, *scored, *marked]),
        estimated=" AND ".join([*exact, *marked]),
        values=values,
        filtered=len(exact) + len(scored) > 1 + (filters.in_scope is not None),
    )


def _finding(
    number: int, asked: FindingRange, places: Mapping[str, int]
) -> tuple[LiteralString, list[LiteralString], dict[str, Any]]:
    """What one range asks of `probabilities`, what of their marks, and the values of both."""
    place = places.get(asked.finding_id)
    if place is None:
        return ("TRUE" if asked.unscored else "FALSE"), [], {}
    names: dict[str, Any] = {
        f"place{number}": place,
        # Probabilities are kept in single precision: a bound of 0.6 must let 0.6 through.
        f"least{number}": float(np.float32(asked.least)),
        f"most{number}": float(np.float32(asked.most)),
    }
    within: LiteralString = (
        f"probabilities[%(place{number})s] BETWEEN %(least{number})s::real AND %(most{number})s::real"
    )
    if asked.unscored:
        return f"(probabilities[%(place{number})s] IS NULL OR {within})", [], names
    lowest, highest = _mark(names[f"least{number}"]), _mark(names[f"most{number}"])
    if lowest == 0 and highest == MARKS - 1:
        return within, [], names
    names[f"marks{number}"] = [place * 16 + mark for mark in range(lowest, highest + 1)]
    return within, [f"finding_marks(probabilities) && %(marks{number})s::integer[]"], names


def _mark(probability: float) -> int:
    return min(max(math.floor(probability * MARKS), 0), MARKS - 1)
