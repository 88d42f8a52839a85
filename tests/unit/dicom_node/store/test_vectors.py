"""What an assessment puts into the index, before any database."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.records import Presence, Traits, ViewSummary
from dicom_node.store.search_facts import Level
from dicom_node.store.vectors import rows_of
from tests.support.studies import assessment, finding, region

STUDY = "1.2.3"


def axis(at: int) -> NDArray[np.float32]:
    return np.eye(4, dtype=np.float32)[at]


def view(series: str, at: int, **changes: Any) -> ViewSummary:
    plain = ViewSummary("retina", series, (), axis(at), True, 0.1, traits=Traits(sex="F", body_part="EYE"))
    return replace(plain, **changes)


def test_a_study_its_views_and_the_regions_of_what_was_seen_have_a_row_each() -> None:
    seen = replace(region(0, 0, 9, 9), embedding=axis(2))
    found = assessment(
        STUDY,
        finding("Pneumonia", "1", 0.8, Presence.PRESENT, evidence=(seen, seen), view=1),
        finding("Edema", "2", 0.1, Presence.ABSENT, evidence=(seen,)),
        views=(view("s1", 0), view("s2", 1)),
    )
    rows = rows_of(found)
    assert [(row.level, row.series_uid) for row in rows] == [
        (Level.STUDY, None),
        (Level.SERIES, "s1"),
        (Level.SERIES, "s2"),
        (Level.REGION, "s2"),
        (Level.REGION, "s2"),
    ]
    shown = rows[-1].region
    assert shown is not None
    assert shown.finding_id == "xray.pneumonia"
    assert shown.place["outline"] == [[0, 0], [9, 0], [9, 9], [0, 9]]
    assert rows[-1].embedding.tolist() == axis(2).tolist()
    assert {row.traits for row in rows} == {Traits(sex="F", body_part="EYE")}


def test_a_study_stands_where_its_views_in_scope_do_and_has_what_they_share() -> None:
    found = assessment(
        STUDY,
        views=(
            view("s1", 0, laterality="L"),
            view("s2", 1, laterality="R", traits=Traits(sex="F", body_part="HEAD")),
            view("s3", 3, in_scope=False),
        ),
    )
    study = rows_of(found)[0]
    assert study.embedding == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 0, 0])
    assert study.in_scope
    assert (study.laterality, study.traits) == (None, Traits(sex="F"))


def test_where_no_view_is_in_scope_the_study_is_neither() -> None:
    study = rows_of(assessment(STUDY, views=(view("s1", 0, in_scope=False, laterality="L"),)))[0]
    assert (study.in_scope, study.laterality) == (False, "L")
    assert study.embedding == pytest.approx(axis(0))


def test_each_side_has_its_own_probabilities_and_the_study_the_highest() -> None:
    found = assessment(
        STUDY,
        finding("Haze", "1", 0.8, Presence.PRESENT, laterality="L"),
        finding("Haze", "1", 0.2, Presence.ABSENT, laterality="R"),
        finding("Blur", "2", 0.4, Presence.ABSENT),
        views=(view("s1", 0, laterality="L"), view("s2", 1, laterality="R"), view("s3", 2)),
    )
    told = [row.probabilities for row in rows_of(found)]
    assert told == [
        {"xray.haze": 0.8, "xray.blur": 0.4},
        {"xray.haze": 0.8, "xray.blur": 0.4},
        {"xray.haze": 0.2, "xray.blur": 0.4},
        {"xray.haze": 0.8, "xray.blur": 0.4},
    ]


def test_a_study_of_which_nothing_could_be_read_has_no_row() -> None:
    assert rows_of(assessment(STUDY, views=())) == []
