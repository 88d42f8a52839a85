"""The index on a real PostgreSQL: what it finds, under which filters, and that it stays true."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray

from dicom_node.records import Assessment, BundleIdentity, Finding, Presence, Traits
from dicom_node.store.database import Connection, Pool, open_pool, transaction
from dicom_node.store.search_facts import Candidate, Filters, FindingRange, Level
from dicom_node.store.search_index import SearchIndex, Tuning
from dicom_node.store.vectors import make_room, replace_rows
from tests.support.postgres import Databases
from tests.support.studies import BUNDLE, assessment, finding, region

WIDTH = 16
FIRST = date(2026, 1, 1)
EVERY = Filters(BUNDLE.digest)


def vector(seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn))


def traits(number: int) -> Traits:
    return Traits(
        patient_id=f"P{number % 50}",
        sex="FM"[number % 2],
        age=float(number % 100),
        birth_year=1926 + number % 100,
        study_date=FIRST + timedelta(days=number % 200),
        body_part=("CHEST", "HAND")[number % 5 == 0],
    )


def scored(probability: float, **changes: Any) -> Finding:
    return finding("Pneumonia", "233604007", probability, Presence.PRESENT, **changes)


def told(number: int, *findings: Finding, bundle: BundleIdentity = BUNDLE, **changes: Any) -> Assessment:
    """What was found in study `number`, of one view."""
    study = f"1.2.{number}"
    plain = assessment(study)
    view = replace(
        plain.views[0],
        series_uid=f"{study}.1",
        embedding=vector(number),
        traits=traits(number),
        laterality="LR"[number % 2],
        **changes,
    )
    return replace(plain, views=(view,), findings=findings, bundle=bundle)


def index_study(connection: Connection, number: int, *findings: Finding, **changes: Any) -> None:
    """Put study `number` into the index."""
    found = told(number, *findings, **changes)
    connection.execute(
        "INSERT INTO studies (study_uid, state) VALUES (%s, 'reported') ON CONFLICT DO NOTHING",
        (found.study_uid,),
    )
    replace_rows(connection, found)


def keep(pool: Pool, number: int, *findings: Finding, **changes: Any) -> None:
    """As the store does it: room in a transaction of its own first."""
    with transaction(pool) as connection:
        make_room(connection, told(number, *findings, **changes))
    with transaction(pool) as connection:
        index_study(connection, number, *findings, **changes)


@pytest.fixture(scope="module")
def many(databases: Databases) -> Iterator[Pool]:
    """400 studies of one view, to be read only; pneumonia is as probable as the number is high."""
    url = databases.create()
    pool = open_pool(url, size=2)
    with transaction(pool) as connection:
        for number in range(400):
            index_study(connection, number, scored(number / 400))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ANALYZE search_rows")
    yield pool
    pool.close()
    databases.drop(url)


def numbers(found: list[Candidate]) -> list[int]:
    return [int(candidate.study_uid.rsplit(".", 1)[1]) for candidate in found]


def naive(question: NDArray[np.float32], among: list[int], limit: int) -> list[int]:
    return sorted(among, key=lambda number: -float(vector(number) @ question))[:limit]


PICKY = {
    "sex": (replace(EVERY, sexes=("F",)), lambda n: n % 2 == 0),
    "age": (replace(EVERY, least_age=60, most_age=80.0), lambda n: 60 <= n % 100 <= 80),
    "birth": (replace(EVERY, born_from=1990, born_until=1991), lambda n: n % 100 in (64, 65)),
    "dates": (
        replace(EVERY, from_date=FIRST, until_date=FIRST + timedelta(days=9)),
        lambda n: n % 200 < 10,
    ),
    "body part": (replace(EVERY, body_parts=("HAND",)), lambda n: n % 5 == 0),
    "side": (replace(EVERY, lateralities=("L", "B")), lambda n: n % 2 == 0),
    "patient": (replace(EVERY, patient_ids=("P7",)), lambda n: n % 50 == 7),
    "another patient": (replace(EVERY, not_patient_ids=("P7",)), lambda n: n % 50 != 7),
    "study": (replace(EVERY, study_uids=("1.2.3", "1.2.4", "9.9")), lambda n: n in (3, 4)),
    "another study": (replace(EVERY, not_study_uids=("1.2.3",)), lambda n: n != 3),
    "series": (replace(EVERY, series_uids=("1.2.3.1",)), lambda n: n == 3),
    "modality": (replace(EVERY, modalities=("xray", "ct")), lambda n: n >= 0),
    "no such modality": (replace(EVERY, modalities=("ct",)), lambda n: n < 0),
    "finding": (replace(EVERY, findings=(FindingRange("xray.pneumonia", least=0.6),)), lambda n: n >= 240),
    "no finding": (replace(EVERY, findings=(FindingRange("xray.pneumonia", most=0.05),)), lambda n: n <= 20),
    "not looked for": (replace(EVERY, findings=(FindingRange("ct.nodule"),)), lambda n: n < 0),
    "not looked for, let through": (
        replace(EVERY, findings=(FindingRange("ct.nodule", most=0.1, unscored=True),)),
        lambda n: n >= 0,
    ),
    "all at once": (
        replace(EVERY, sexes=("M",), least_age=20, findings=(FindingRange("xray.pneumonia", 0.3, 0.7),)),
        lambda n: n % 2 == 1 and n % 100 >= 20 and 120 <= n <= 280,
    ),
}


def test_every_filter_leaves_the_nearest_of_what_fulfils_it_by_either_way(many: Pool) -> None:
    walk = SearchIndex(many, Tuning(visit_cost=0.0))
    look = SearchIndex(many, Tuning(visit_cost=1e9))
    for name, (filters, fulfils) in PICKY.items():
        among = [number for number in range(400) if fulfils(number)]
        for seed in (1000, 1001):
            right = naive(vector(seed), among, 5)
            assert numbers(look.nearest(vector(seed), filters, 5)) == right, name
            assert numbers(walk.nearest(vector(seed), filters, 5)) == right, name
        assert look.count(filters) == len(among), name


def test_distances_are_exact_and_the_question_need_not_have_unit_norm(many: Pool) -> None:
    question = vector(1002)
    found = SearchIndex(many).nearest(7 * question, EVERY, 3)
    right = [1 - float(vector(number).astype(np.float64) @ question) for number in numbers(found)]
    assert [candidate.distance for candidate in found] == pytest.approx(right, abs=1e-6)
    assert right == sorted(right)


def test_an_answer_tells_what_the_row_is(many: Pool) -> None:
    (found,) = SearchIndex(many).nearest(vector(33), EVERY, 1)
    assert found.findings == {"xray.pneumonia": pytest.approx(33 / 400)}
    assert replace(found, findings={}, distance=None) == Candidate(
        study_uid="1.2.33",
        level=Level.SERIES,
        distance=None,
        series_uid="1.2.33.1",
        view=0,
        modality="xray",
        study_date=FIRST + timedelta(days=33),
        sex="M",
        age=33.0,
        body_part="CHEST",
        laterality="R",
        patient_id="P33",
    )


def test_a_walk_that_loses_patience_looks_at_all(many: Pool) -> None:
    impatient = SearchIndex(many, Tuning(ef_search=4, drawn=1, most_visited=1, visit_cost=0.0))
    filters = replace(EVERY, least_age=99)
    assert numbers(impatient.nearest(vector(1), filters, 4)) == naive(vector(1), [99, 199, 299, 399], 4)


def test_without_a_vector_the_newest_or_the_most_probable_come_first(many: Pool) -> None:
    index = SearchIndex(many)
    newest = index.newest(replace(EVERY, sexes=("F",)), 3)
    assert [candidate.study_date for candidate in newest] == [
        FIRST + timedelta(days=day) for day in (198, 198, 196)
    ]
    assert newest[0].distance is None
    young = replace(EVERY, most_age=9)
    assert numbers(index.by_finding("xray.pneumonia", young, 3)) == [309, 308, 307]
    assert numbers(index.by_finding("xray.pneumonia", young, 3, absent=True)) == [0, 1, 2]
    assert len(index.by_finding("xray.pneumonia", young, 100)) == 40
    assert index.by_finding("ct.nodule", young) == []


def test_a_question_by_example_needs_no_encoder(many: Pool) -> None:
    index = SearchIndex(many)
    example = index.vectors_of(BUNDLE.digest, Level.STUDY, study_uid="1.2.8")
    assert example == pytest.approx(vector(8)[None], abs=1e-6)
    others = replace(EVERY, level=Level.STUDY, not_study_uids=("1.2.8",))
    right = naive(vector(8), [number for number in range(400) if number != 8], 3)
    assert numbers(index.nearest(example[0], others, 3)) == right
    assert index.vectors_of(BUNDLE.digest, Level.SERIES, study_uid="9.9", series_uid="9").shape == (0, 0)


def test_a_vector_of_another_width_or_of_nothing_is_refused(many: Pool) -> None:
    index = SearchIndex(many)
    with pytest.raises(ValueError, match="16 dimensions"):
        index.nearest(np.ones(4, dtype=np.float32), EVERY)
    with pytest.raises(ValueError, match="not zero"):
        index.nearest(np.zeros(WIDTH, dtype=np.float32), EVERY)
    assert index.nearest(np.ones(4, dtype=np.float32), Filters("no such bundle")) == []


def test_out_of_scope_is_kept_and_found_only_by_who_asks(pool: Pool) -> None:
    keep(pool, 1)
    keep(pool, 2, in_scope=False)
    index = SearchIndex(pool)
    assert numbers(index.nearest(vector(2), EVERY)) == [1]
    assert numbers(index.nearest(vector(2), replace(EVERY, in_scope=None))) == [2, 1]
    assert numbers(index.nearest(vector(2), replace(EVERY, in_scope=False))) == [2]


def test_a_region_tells_its_finding_and_place(pool: Pool) -> None:
    place = replace(region(1, 2, 30, 40), embedding=vector(77))
    keep(pool, 1, scored(0.9, evidence=(place,)))
    (found,) = SearchIndex(pool).nearest(vector(77), replace(EVERY, level=Level.REGION))
    assert found.distance == pytest.approx(0, abs=1e-6)
    assert found.region is not None
    assert found.region.finding_id == "xray.pneumonia"
    assert found.region.place["outline"] == [[1, 2], [30, 2], [30, 40], [1, 40]]


def rows_held(pool: Pool) -> int:
    with transaction(pool) as connection:
        (held,) = connection.execute("SELECT count(*) FROM search_rows").fetchone() or (0,)
    return int(held)


def test_processing_again_replaces_and_deleting_removes(pool: Pool) -> None:
    place = replace(region(1, 2, 30, 40), embedding=vector(77))
    keep(pool, 1, scored(0.9, evidence=(place,)))
    keep(pool, 2, scored(0.9))
    keep(pool, 1, scored(0.2))
    assert rows_held(pool) == 4
    index = SearchIndex(pool)
    assert index.nearest(vector(77), replace(EVERY, level=Level.REGION)) == []
    assert index.nearest(vector(1), EVERY, 1)[0].findings == {"xray.pneumonia": pytest.approx(0.2)}
    with transaction(pool) as connection:
        connection.execute("DELETE FROM studies WHERE study_uid = '1.2.1'")
    assert rows_held(pool) == 2
    assert numbers(index.nearest(vector(1), EVERY)) == [2]
    assert [known.studies for known in index.coverage()] == [1]
    with transaction(pool) as connection:
        replace_rows(connection, assessment("1.2.2", views=()))
    assert (rows_held(pool), index.coverage()) == (0, ())


def test_what_is_rolled_back_was_never_indexed(pool: Pool) -> None:
    keep(pool, 1)

    def break_off() -> None:
        with transaction(pool) as connection:
            replace_rows(connection, assessment("1.2.1", views=()))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert rows_held(pool) == 2


def test_bundles_do_not_mix_and_each_study_answers_for_one(pool: Pool) -> None:
    other = BundleIdentity("m3bind-mini", "0.2.0", "ee" * 32)
    for number in range(3):
        keep(pool, number, scored(0.5))
    keep(pool, 1, scored(0.1), finding("Edema", "2", 0.3, Presence.ABSENT), bundle=other)
    index = SearchIndex(pool)
    assert sorted(numbers(index.nearest(vector(1), EVERY))) == [0, 2]
    (found,) = index.nearest(vector(1), Filters(other.digest))
    assert found.findings == {"xray.pneumonia": pytest.approx(0.1), "xray.edema": pytest.approx(0.3)}
    told = {known.bundle: (known.studies, known.waiting, known.stuck) for known in index.coverage(other)}
    assert told == {BUNDLE: (2, 2, 0), other: (1, 0, 0)}


def test_a_bundle_too_wide_for_the_graph_is_searched_without_it(pool: Pool) -> None:
    wide = np.zeros(4096, dtype=np.float32)
    wide[5] = 1
    plain = assessment("1.2.1")
    with transaction(pool) as connection:
        connection.execute("INSERT INTO studies (study_uid, state) VALUES ('1.2.1', 'reported')")
        replace_rows(connection, replace(plain, views=(replace(plain.views[0], embedding=wide),)))
    (found,) = SearchIndex(pool).nearest(wide, EVERY)
    assert found.distance == pytest.approx(0, abs=1e-6)


def test_several_workers_may_meet_a_new_bundle_at_once(pool: Pool) -> None:
    with ThreadPoolExecutor(4) as workers:
        done = [
            workers.submit(
                keep, pool, number, scored(0.5), finding(f"New {number}", "1", 0.5, Presence.ABSENT)
            )
            for number in range(8)
        ]
    assert [future.result() for future in done] == [None] * 8
    found = SearchIndex(pool).nearest(vector(0), EVERY, 8)
    assert sorted(numbers(found)) == list(range(8))
    assert all(f"xray.new_{number}" in c.findings for number, c in zip(numbers(found), found, strict=True))
