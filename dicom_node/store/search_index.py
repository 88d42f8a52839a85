"""Questions to the index: the rows nearest to a vector, under filters.

Every modality has a graph of its own. Rows that fulfil the filters are found in one of two ways, whichever
promises to read less, decided for each modality. Its HNSW graph is walked from near to far until enough of
them have come by: the fewer there are, the longer that takes. Or all of them are looked at, found by the
indexes of their attributes: the more there are, the longer that takes. The graph holds vectors in half
precision; what it leads to is ranked again in full precision.
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
from dicom_node.store.search_where import MARKS, Where, where_of
from dicom_node.store.vectors import EDITION

WIDEST_GRAPH = 4000
"""Dimensions of halfvec that HNSW can hold (pgvector 0.8)."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """How hard the graph is searched. docs/SEARCH.md tells how the numbers were chosen."""

    ef_search: int = 160
    """Candidates that the walk through one graph keeps in mind: more find more, and take longer."""
    ef_search_of_many: int = 80
    """The same where several graphs are walked: the answers are shared among them."""
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
    drawn = limit * tuning.drawn
    spaces, places = _open(connection, filters, tuning, drawn)
    if not spaces or limit < 1:
        return []
    where = where_of(filters, _numbers(spaces), places)
    values = {**where.values, "vector": _unit(vector, spaces[0].width), "limit": limit, "drawn": drawn}
    walked = _to_be_walked(connection, spaces, where, drawn, tuning)
    rows = _draw(connection, walked, spaces, where, values)
    if len(rows) < limit and walked:
        # Fewer near ones than the walk had patience for: the statistics may be old.
        rows = _draw(connection, (), spaces, where, values)
    return _candidates(rows, filters.level, places)


def _draw(
    connection: Connection,
    walked: Sequence[_Space],
    spaces: Sequence[_Space],
    where: Where,
    values: Mapping[str, Any],
) -> list[tuple[Any, ...]]:
    parts: list[LiteralString] = [
        _told(search_sql.BY_GRAPH, where.exact, space=str(space.number), width=str(space.width))
        if space in walked
        else _told(search_sql.BY_FILTER, where.indexed, space=str(space.number))
        for space in spaces
    ]
    statement = _told(search_sql.NEAREST, drawn=" UNION ALL ".join(parts))
    return connection.execute(statement, values, prepare=False).fetchall()


def newest(connection: Connection, filters: Filters, limit: int = 10) -> list[Candidate]:
    """At most `limit` rows that fulfil the filters, by Study Date, newest first, then those without one."""
    spaces, places = _open(connection, filters)
    if not spaces:
        return []
    where = where_of(filters, _numbers(spaces), places)
    statement = _told(search_sql.NEWEST, where.among)
    rows = connection.execute(statement, {**where.values, "limit": limit}, prepare=False).fetchall()
    return _candidates(rows, filters.level, places)


def by_finding(
    connection: Connection, finding_id: str, filters: Filters, limit: int = 10, *, absent: bool = False
) -> list[Candidate]:
    """At most `limit` rows that fulfil the filters and in which somebody looked for the finding, the most
    probable first; with `absent` the least probable first."""
    spaces, places = _open(connection, filters)
    if not spaces or finding_id not in places:
        return []
    order = "ASC" if absent else "DESC"
    rows: Sequence[Sequence[Any]] = ()
    # A tenth of the scale at a time: where many have it, only those are looked at.
    for step in range(1, MARKS + 1):
        part = step / MARKS
        bounds = FindingRange(finding_id, most=part) if absent else FindingRange(finding_id, least=1 - part)
        narrowed = replace(filters, findings=(*filters.findings, bounds))
        where = where_of(narrowed, _numbers(spaces), places)
        values = {**where.values, "place": places[finding_id], "limit": limit}
        statement = _told(search_sql.BY_PROBABILITY, where.among, order=order)
        rows = connection.execute(statement, values, prepare=False).fetchall()
        if len(rows) == limit:
            break
    return _candidates(rows, filters.level, places)


def count(connection: Connection, filters: Filters, most: int = 10_000) -> int:
    """How many rows fulfil the filters; nobody counts beyond `most`."""
    spaces, places = _open(connection, filters)
    if not spaces:
        return 0
    where = where_of(filters, _numbers(spaces), places)
    statement = _told(search_sql.COUNT, where.among)
    row = connection.execute(statement, {**where.values, "most": most}, prepare=False).fetchone()
    return 0 if row is None else int(row[0])


def vectors_of(
    connection: Connection, bundle: str, level: Level, *, study_uid: str, series_uid: str | None = None
) -> NDArray[np.float32]:
    """(N, D) unit-norm rows of a study, or of one series of it, in the order of its views; (0, 0) where the
    bundle has none. A question by example needs no encoder."""
    spaces = _numbers(_open(connection, Filters(bundle, level))[0])
    values = {"spaces": spaces, "study_uid": study_uid, "series_uid": series_uid}
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


def _told(statement: LiteralString, where: LiteralString = "", **parts: LiteralString) -> LiteralString:
    """A statement of `search_sql.py` with its parts put in; values come separately."""
    return statement.format(where=where, answer=search_sql.ANSWER, **parts)


def _open(
    connection: Connection, filters: Filters, tuning: Tuning | None = None, drawn: int = 1
) -> tuple[list[_Space], dict[str, int]]:
    """The spaces that are asked, and the places of findings; the transaction is tuned for what comes next."""
    tuning = Tuning() if tuning is None else tuning
    values = {
        "bundle": filters.bundle,
        "level": filters.level.value,
        "modalities": list(filters.modalities) or None,
        # pgvector takes 1 to 1,000; below what is drawn it could not even hold the answer.
        "ef_search": str(min(max(tuning.ef_search, drawn), 1000)),
        "ef_search_of_many": str(min(max(tuning.ef_search_of_many, drawn), 1000)),
        "most_visited": str(tuning.most_visited),
    }
    row = connection.execute(search_sql.OPEN_SPACES, values).fetchone()
    if row is None:
        return [], {}
    return [_Space(*space) for space in row[0]], row[1]


def _numbers(spaces: Sequence[_Space]) -> list[int]:
    return [space.number for space in spaces]


def _to_be_walked(
    connection: Connection, spaces: Sequence[_Space], where: Where, drawn: int, tuning: Tuning
) -> list[_Space]:
    """The spaces in which it takes less to walk until enough rows that fulfil the filters came by than to
    look at all of those. Of N rows n fulfil them: the walk visits about drawn * N / n rows, the look n."""
    graphs = [space for space in spaces if space.width <= WIDEST_GRAPH]
    if not where.filtered or not graphs:
        return graphs
    statement = _told(search_sql.ESTIMATE, where.estimated)
    row = connection.execute(statement, where.values, prepare=False).fetchone()
    fulfil = {} if row is None else _by_table(row[0][0]["Plan"])
    walked = []
    for space in graphs:
        n = fulfil.get(f"search_rows_{space.number}", 0.0)
        visited = max(tuning.ef_search, drawn * max(space.rows, n) / max(n, 1.0))
        if n > tuning.visit_cost * visited:
            walked.append(space)
    return walked


def _by_table(plan: Mapping[str, Any]) -> dict[str, float]:
    """Rows that a plan expects of each table."""
    own = {plan["Relation Name"]: float(plan["Plan Rows"])} if "Relation Name" in plan else {}
    return own | {name: rows for part in plan.get("Plans", ()) for name, rows in _by_table(part).items()}


def _unit(vector: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    if vector.shape != (width,):
        raise ValueError(f"the bundle's vectors have {width} dimensions; this one has shape {vector.shape}")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not (math.isfinite(length) and length > 0):
        raise ValueError("a question's vector must be finite and not zero")
    return np.asarray(vector / np.float32(length), dtype=np.float32)


def _candidates(rows: Sequence[Sequence[Any]], level: Level, places: Mapping[str, int]) -> list[Candidate]:
    names = {place: finding_id for finding_id, place in places.items()}
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
