"""The index in memory, searched exactly: as `store.search_index.SearchIndex` answers, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from dicom_node.facts import evidence_to_json
from dicom_node.records import Assessment, BundleIdentity
from dicom_node.store.search_facts import BundleCoverage, Candidate, Filters, Level, Region

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Row:
    """One row of the index."""

    bundle: str
    candidate: Candidate
    embedding: Floats
    in_scope: bool


@dataclass
class IndexInMemory:
    """Rows of series and regions."""

    rows: list[Row] = field(default_factory=list)
    elsewhere: tuple[BundleCoverage, ...] = ()
    """What other bundles answer for."""

    def add(self, assessment: Assessment) -> None:
        """Index a study as the store does."""
        for number, view in enumerate(assessment.views):
            candidate = Candidate(
                study_uid=assessment.study_uid,
                level=Level.SERIES,
                distance=None,
                series_uid=view.series_uid,
                view=number,
                modality=view.modality,
                study_date=view.traits.study_date,
                sex=view.traits.sex,
                age=view.traits.age,
                body_part=view.traits.body_part,
                laterality=view.laterality,
                patient_id=view.traits.patient_id,
                findings={
                    finding.id: finding.probability
                    for finding in assessment.findings
                    if finding.laterality in (None, view.laterality)
                },
            )
            self.rows.append(Row(assessment.bundle.digest, candidate, view.embedding, view.in_scope))
            for finding in assessment.findings:
                for evidence in finding.evidence if finding.view == number else ():
                    region = Region(finding.id, evidence_to_json(evidence))
                    told = replace(candidate, level=Level.REGION, region=region)
                    self.rows.append(Row(assessment.bundle.digest, told, view.embedding, view.in_scope))

    def nearest(self, vector: Floats, filters: Filters, limit: int = 10) -> Sequence[Candidate]:
        found = [row for row in self.rows if _fulfils(row, filters)]
        unit = vector / np.linalg.norm(vector)
        told = [replace(row.candidate, distance=1.0 - float(row.embedding @ unit)) for row in found]
        return sorted(told, key=lambda row: row.distance or 0.0)[:limit]

    def newest(self, filters: Filters, limit: int = 10) -> Sequence[Candidate]:
        found = [row.candidate for row in self.rows if _fulfils(row, filters)]
        return sorted(found, key=lambda row: row.study_date or date.min, reverse=True)[:limit]

    def by_finding(
        self, finding_id: str, filters: Filters, limit: int = 10, *, absent: bool = False
    ) -> Sequence[Candidate]:
        found = [row.candidate for row in self.rows if _fulfils(row, filters)]
        scored = [row for row in found if finding_id in row.findings]
        return sorted(scored, key=lambda row: row.findings[finding_id], reverse=not absent)[:limit]

    def vectors_of(
        self, bundle: str, level: Level, *, study_uid: str, series_uid: str | None = None
    ) -> Floats:
        series = () if series_uid is None else (series_uid,)
        filters = Filters(bundle, level, study_uids=(study_uid,), series_uids=series, in_scope=None)
        return np.array([row.embedding for row in self.rows if _fulfils(row, filters)], dtype=np.float32)

    def sample(self, bundle: str, level: Level, modality: str, most: int = 2000) -> Floats:
        filters = Filters(bundle, level, modalities=(modality,))
        found = [row.embedding for row in self.rows if _fulfils(row, filters)][:most]
        return np.array(found, dtype=np.float32).reshape(len(found), -1 if found else 0)

    def coverage(self, current: BundleIdentity | None = None) -> Sequence[BundleCoverage]:
        if current is None:
            return self.elsewhere
        studies = {row.candidate.study_uid for row in self.rows if row.bundle == current.digest}
        return (BundleCoverage(current, 0, len(studies), 0, 0), *self.elsewhere)


def _fulfils(row: Row, filters: Filters) -> bool:
    told = row.candidate
    listed = (
        (filters.modalities, told.modality),
        (filters.sexes, told.sex),
        (filters.body_parts, told.body_part),
        (filters.lateralities, told.laterality),
        (filters.study_uids, told.study_uid),
        (filters.series_uids, told.series_uid),
    )
    bounded = (
        (filters.from_date, told.study_date, filters.until_date),
        (filters.least_age, told.age, filters.most_age),
    )
    return (
        (row.bundle, told.level) == (filters.bundle, filters.level)
        and (filters.in_scope is None or row.in_scope == filters.in_scope)
        and told.study_uid not in filters.not_study_uids
        and all(not wanted or value in wanted for wanted, value in listed)
        and all(_between(least, value, most) for least, value, most in bounded)
        and all(
            told.findings[asked.finding_id] >= asked.least and told.findings[asked.finding_id] <= asked.most
            if asked.finding_id in told.findings
            else asked.unscored
            for asked in filters.findings
        )
    )


def _between(least: object, value: object, most: object) -> bool:
    if least is None and most is None:
        return True
    return value is not None and (least is None or value >= least) and (most is None or value <= most)  # type: ignore[operator]
