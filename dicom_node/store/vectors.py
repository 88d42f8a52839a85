"""What an assessment puts into the index: one row per study, view and region, in the caller's transaction.

A study is indexed under one bundle at a time, the one that looked last: what another bundle, or an earlier
revision, had said is taken out in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from dicom_node.facts import evidence_to_json
from dicom_node.records import Assessment, BundleIdentity, Evidence, Finding, Presence, Traits, ViewSummary
from dicom_node.store import search_sql
from dicom_node.store.database import Connection
from dicom_node.store.search_facts import Level, Region

EDITION = 1
"""Of what a row holds. Studies that were indexed by an earlier edition are embedded again; 0: what the
database held before there were demographics and regions."""


@dataclass(frozen=True, slots=True, eq=False)
class IndexRow:
    """One row, before it has a place in the database."""

    level: Level
    series_uid: str | None
    view: int | None
    modality: str
    in_scope: bool
    laterality: str | None
    traits: Traits
    probabilities: Mapping[str, float]
    """By finding id: the highest of the study, on the row's own side where it has one."""
    region: Region | None
    embedding: NDArray[np.float32]
    """(D,), unit norm."""


def rows_of(assessment: Assessment) -> list[IndexRow]:
    """The rows of one study; none where nothing could be read."""
    views = assessment.views
    if not views:
        return []
    rows = [_of_view(index, view, assessment.findings) for index, view in enumerate(views)]
    regions = [row for finding in assessment.findings for row in _of_regions(finding, rows)]
    return [_of_study(assessment.findings, rows), *rows, *regions]


def make_room(connection: Connection, assessment: Assessment) -> None:
    """Make what the rows of this assessment need and the index lacks: places for its findings, and spaces.

    For a transaction of its own, before that of `replace_rows`: one at a time makes room, and making a space
    waits for all who have touched studies or rows. Who waits for the turn must not be one of them.
    """
    _room(connection, assessment, rows_of(assessment))


def replace_rows(connection: Connection, assessment: Assessment) -> None:
    """Index a study as this assessment tells it, instead of whatever the index held of it. Room is made if
    there is none, but two that do so at once may end in a deadlock: see `make_room`."""
    study = assessment.study_uid
    rows = rows_of(assessment)
    places, spaces = _room(connection, assessment, rows)
    connection.execute(search_sql.FORGET, (study,))
    if not rows:
        connection.execute(search_sql.FORGET_STUDY, (study,))
        return
    with connection.cursor() as cursor:
        kept = [_values(study, row, spaces[row.level, row.modality], places) for row in rows]
        cursor.executemany(search_sql.KEEP, kept)
    connection.execute(search_sql.KEEP_STUDY, (study, assessment.bundle.digest, EDITION))


def _room(
    connection: Connection, assessment: Assessment, rows: Sequence[IndexRow]
) -> tuple[dict[str, int], dict[tuple[Level, str], int]]:
    """Places by finding id, spaces by level and modality."""
    places = _places(connection, {name for row in rows for name in row.probabilities})
    some = {(row.level, row.modality): row for row in rows}
    return places, {key: _space(connection, assessment.bundle, row) for key, row in some.items()}


def _of_view(index: int, view: ViewSummary, findings: Sequence[Finding]) -> IndexRow:
    return IndexRow(
        level=Level.SERIES,
        series_uid=view.series_uid,
        view=index,
        modality=view.modality,
        in_scope=view.in_scope,
        laterality=view.laterality,
        traits=view.traits,
        probabilities=_probabilities(findings, view.laterality),
        region=None,
        embedding=view.embedding,
    )


def _of_study(findings: Sequence[Finding], views: Sequence[IndexRow]) -> IndexRow:
    """The mean of the views in scope, of all where none is; side and traits are those that they share."""
    used = [row for row in views if row.in_scope] or list(views)
    mean = np.mean([row.embedding for row in used], axis=0, dtype=np.float64)
    sides = {row.laterality for row in used}
    parts = {row.traits.body_part for row in used}
    return replace(
        used[0],
        level=Level.STUDY,
        series_uid=None,
        view=None,
        laterality=sides.pop() if len(sides) == 1 else None,
        traits=used[0].traits if len(parts) == 1 else replace(used[0].traits, body_part=None),
        probabilities=_probabilities(findings, None),
        embedding=np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32),
    )


def _of_regions(finding: Finding, views: Sequence[IndexRow]) -> Iterator[IndexRow]:
    if finding.presence is Presence.ABSENT:
        return
    for evidence in finding.evidence:
        if evidence.embedding is not None:
            yield replace(
                views[finding.view],
                level=Level.REGION,
                region=_region(finding, evidence),
                embedding=evidence.embedding,
            )


def _region(finding: Finding, evidence: Evidence) -> Region:
    return Region(finding.id, evidence_to_json(evidence))


def _probabilities(findings: Sequence[Finding], side: str | None) -> dict[str, float]:
    """By finding id. A finding of the other side is left out; one that has no side counts for both."""
    found: dict[str, float] = {}
    for finding in findings:
        if side is None or finding.laterality in (None, side, "B"):
            found[finding.id] = max(finding.probability, found.get(finding.id, 0.0))
    return found


def _space(connection: Connection, bundle: BundleIdentity, row: IndexRow) -> int:
    width = int(row.embedding.shape[0])
    names = (bundle.digest, bundle.name, bundle.version, row.level.value, row.modality, width)
    found = connection.execute(search_sql.SPACE, names).fetchone()
    if found is None:
        raise RuntimeError("search_space() always answers")
    return int(found[0])


def _places(connection: Connection, finding_ids: set[str]) -> dict[str, int]:
    """Where each finding stands among the probabilities, from 1; new ones get a place."""

    def known() -> dict[str, int]:
        return dict(connection.execute(search_sql.PLACES, (sorted(finding_ids),)).fetchall())

    places = known()
    if missing := finding_ids - places.keys():
        connection.execute(search_sql.ONE_AT_A_TIME)
        for finding_id in sorted(missing):
            connection.execute(search_sql.ADD_PLACE, (finding_id,))
        places = known()
    return places


def _values(study_uid: str, row: IndexRow, space: int, places: Mapping[str, int]) -> dict[str, Any]:
    probabilities: list[float | None] = [None] * max((places[name] for name in row.probabilities), default=0)
    for name, probability in row.probabilities.items():
        probabilities[places[name] - 1] = probability
    return {
        "space": space,
        "study_uid": study_uid,
        "series_uid": row.series_uid,
        "view": row.view,
        "modality": row.modality,
        "in_scope": row.in_scope,
        "study_date": row.traits.study_date,
        "sex": row.traits.sex,
        "age": row.traits.age,
        "birth_year": row.traits.birth_year,
        "body_part": row.traits.body_part,
        "laterality": row.laterality,
        "patient_id": row.traits.patient_id,
        "probabilities": probabilities,
        "finding_id": None if row.region is None else row.region.finding_id,
        "region": None if row.region is None else Jsonb(row.region.place),
        "embedding": row.embedding,
    }
