"""What one modality has to answer: rows drawn from the index, judged study by study."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.centres import Centres, Scale
from dicom_node.search.directions import Directions, unit
from dicom_node.search.example import Example
from dicom_node.search.filters import fits, knows_elsewhere, range_of
from dicom_node.search.ports import Floats, Index, Speaker
from dicom_node.search.question import Question, Statement
from dicom_node.search.rank import Judged, judge
from dicom_node.store.search_facts import Candidate, Filters, FindingRange

LEAST_DRAWN = 100
"""Rows by each way of drawing; what is best by one way may be far down by another."""
DRAWN_PER_ANSWER = 5
MOST_ROWS = 4000
"""Of the studies that were drawn: a study has a row for each view."""

OTHER_SIDE = {"L": "R", "R": "L"}

Key = tuple[str, str | None, int | None]


@dataclass(frozen=True, slots=True)
class Drawn:
    """One study that may answer."""

    row: Candidate
    """Its series that speaks most for it."""
    judged: tuple[Judged, ...]
    """By statement, in the question's order."""
    similarity: float | None


@dataclass(frozen=True, slots=True)
class Asked:
    """One statement, as it stands to one modality."""

    statement: Statement
    entry: FindingEntry | None
    direction: Floats
    """(D,), in the sense of the entry where there is one."""
    scored: bool
    elsewhere: bool

    @property
    def shall_be(self) -> bool:
        """Whether what `direction` points to shall be there."""
        return self.statement.affirmed if self.entry is None else self.statement.present


class Draughtsman:
    """Draws from one index for one bundle."""

    def __init__(self, index: Index, speaker: Speaker, directions: Directions, centres: Centres) -> None:
        self._index = index
        self._speaker = speaker
        self._directions = directions
        self._centres = centres

    def draw(
        self, question: Question, example: Example | None, modality: str, filters: Filters, limit: int
    ) -> list[Drawn]:
        """Studies of `modality` that may answer; `filters` are the question's, for any modality."""
        asked = [self._asked(question, statement, modality) for statement in question.statements]
        filters = replace(filters, modalities=(modality,), findings=_ranges(question, asked))
        drawn = self._studies(asked, example, filters, max(LEAST_DRAWN, DRAWN_PER_ANSWER * limit))
        if not drawn:
            return []
        if not asked and example is None:
            return [Drawn(row, (), None) for row in drawn if fits(question, row)]
        of_these = replace(filters, study_uids=tuple(sorted({row.study_uid for row in drawn})))
        cosines = [self._cosines(item.direction, of_these) for item in asked]
        near = {} if example is None else self._similarities(example, modality, of_these)
        centre = self._centres.of(modality)
        scales = [centre.along(item.direction) for item in asked]
        by_study: dict[str, list[Candidate]] = defaultdict(list)
        for row in self._index.newest(of_these, MOST_ROWS):
            if fits(question, row):
                by_study[row.study_uid].append(row)
        return [_judged(study, asked, cosines, scales, near) for study in by_study.values()]

    def _asked(self, question: Question, statement: Statement, modality: str) -> Asked:
        entry = next(
            (e for e in self._speaker.entries if e.id in statement.findings and e.modality == modality), None
        )
        return Asked(
            statement=statement,
            entry=entry,
            direction=self._directions.of(statement, entry),
            scored=entry is not None and entry.id in self._speaker.scored,
            elsewhere=entry is None and knows_elsewhere(question, statement, modality),
        )

    def _studies(
        self,
        asked: Sequence[Asked],
        example: Example | None,
        filters: Filters,
        number: int,
    ) -> list[Candidate]:
        """Rows by every way of drawing; the same study may come several times."""
        if not asked and example is None:
            return list(self._index.newest(filters, number))
        found: list[Candidate] = []
        if asked:
            whole = np.sum([item.direction if item.shall_be else -item.direction for item in asked], axis=0)
            if np.linalg.norm(whole) > 0:
                found += self._index.nearest(unit(whole), filters, number)
        for item in asked:
            if item.entry is not None and item.scored:
                found += self._index.by_finding(
                    item.entry.id, filters, number, absent=not item.statement.present
                )
        if example is not None:
            found += self._index.nearest(example.towards, filters, number)
        return found

    def _cosines(self, direction: Floats, filters: Filters) -> dict[Key, float]:
        """Of all rows; none where the words have no direction, as those that the encoder cuts off."""
        if not np.linalg.norm(direction) > 0:
            return {}
        rows = self._index.nearest(direction, filters, MOST_ROWS)
        return {_key(row): 1.0 - row.distance for row in rows if row.distance is not None}

    def _similarities(self, example: Example, modality: str, filters: Filters) -> dict[Key, float]:
        """Cosine of each row to the example, both with their modality's mean taken away."""
        centre = self._centres.of(modality)
        mean = centre.mean if len(centre.rows) else np.zeros_like(example.towards)
        length = float(np.linalg.norm(mean))
        along = self._cosines(mean, filters)
        offset = float(mean @ example.towards)
        told = {}
        for key, cosine in self._cosines(example.towards, filters).items():
            squared = 1.0 + length**2 - 2.0 * length * along.get(key, 0.0)
            told[key] = (cosine - offset) / float(np.sqrt(max(squared, 1e-12)))
        return told


def _key(row: Candidate) -> Key:
    return row.study_uid, row.series_uid, row.view


def _ranges(question: Question, asked: Sequence[Asked]) -> tuple[FindingRange, ...]:
    """What must hold of scored findings, whatever else: the index can find by that."""
    by_statement = {id(item.statement): item for item in asked}
    ranges = []
    for group in question.all_of:
        item = by_statement[id(group.any_of[0])]
        if len(group.any_of) == 1 and item.entry is not None and item.scored:
            ranges.append(range_of(item.entry, present=item.statement.present))
    return tuple(ranges)


def _judged(
    rows: Sequence[Candidate],
    asked: Sequence[Asked],
    cosines: Sequence[Mapping[Key, float]],
    scales: Sequence[Scale],
    near: Mapping[Key, float],
) -> Drawn:
    """One study, from its rows. What is told of it is the most that any row tells: a finding seen in one view
    is there, whatever the other views show."""
    judged = []
    speaks = dict.fromkeys(map(_key, rows), 0.0)
    for item, found, scale in zip(asked, cosines, scales, strict=True):
        on_side = [row for row in rows if _may_lie(item.statement, row)]
        told = [(found[_key(row)], row) for row in on_side if _key(row) in found]
        likeness = max((scale.likeness(cosine) for cosine, _ in told), default=0.0)
        one = judge(
            item.statement, item.entry, _probability(item, on_side), likeness, elsewhere=item.elsewhere
        )
        judged.append(one if on_side else replace(one, accepted=False))
        for cosine, row in told:
            speaks[_key(row)] += cosine if item.shall_be else 0.0
    similarity = max((near[_key(row)] for row in rows if _key(row) in near), default=None)
    best = max(rows, key=lambda row: speaks[_key(row)] + near.get(_key(row), 0.0))
    return Drawn(best, tuple(judged), similarity)


def _may_lie(statement: Statement, row: Candidate) -> bool:
    """Whether the row is not known to show the other side."""
    return statement.side is None or row.laterality != OTHER_SIDE.get(statement.side, "")


def _probability(item: Asked, rows: Iterable[Candidate]) -> float | None:
    if item.entry is None or not item.scored:
        return None
    told = [row.findings[item.entry.id] for row in rows if item.entry.id in row.findings]
    return max(told, default=None)
