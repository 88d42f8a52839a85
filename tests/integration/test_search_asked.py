"""Questions to the index on a real PostgreSQL: what it answers is what the exact index in memory answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dicom_node.search.answer import Answer, Request, Searcher
from dicom_node.search.service import AskedArchive
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, open_pool, transaction
from dicom_node.store.search_facts import Level
from dicom_node.store.search_sample import AskedIndex
from dicom_node.store.vectors import replace_rows
from tests.support.postgres import Databases
from tests.support.questions import BUNDLE, TODAY, VOCABULARY, archive, speaker
from tests.support.search_index import IndexInMemory

QUESTIONS = [
    Request("pneumonia"),
    Request("no pneumonia"),
    Request("pneumonia or effusion, women"),
    Request("chest, pneumonia without effusion, over 55, last month"),
    Request("retinopathy of the left eye"),
    Request("lung cancer or diabetic retinopathy"),
    Request("cavity"),
    Request("no nodule"),
    Request("women since 2026-09"),
    Request(similar_to="2.25.1"),
    Request("no effusion", similar_to="2.25.4.1"),
]


@pytest.fixture(scope="module")
def filled(databases: Databases) -> Iterator[Pool]:
    url = databases.create()
    pool = open_pool(url, size=2)
    with transaction(pool) as connection:
        for assessment in archive():
            uid = assessment.study_uid
            connection.execute("INSERT INTO studies (study_uid, state) VALUES (%s, 'reported')", (uid,))
            replace_rows(connection, assessment)
    yield pool
    pool.close()
    databases.drop(url)


def told(answer: Answer) -> list[tuple[str, float | None, list[str]]]:
    return [
        (
            hit.row.study_uid,
            None if hit.score is None else round(hit.score, 4),
            sorted(region.finding_id for region in hit.regions),
        )
        for hit in answer.hits
    ]


@pytest.mark.parametrize("request_", QUESTIONS, ids=lambda r: r.text or f"like {r.similar_to}")
def test_the_database_answers_as_the_exact_index_does(filled: Pool, request_: Request) -> None:
    exact = IndexInMemory()
    for assessment in archive():
        exact.add(assessment)
    found = Searcher(AskedIndex(filled), speaker(), VOCABULARY, lambda: TODAY).ask(request_)
    expected = told(Searcher(exact, speaker(), VOCABULARY, lambda: TODAY).ask(request_))
    assert expected
    assert sorted(told(found)) == sorted(expected)
    assert [score for _, score, _ in told(found)] == [score for _, score, _ in expected]


def test_a_sample_holds_rows_in_scope_of_the_modality_alone(filled: Pool) -> None:
    rows = AskedIndex(filled).sample(BUNDLE.digest, Level.SERIES, "xray")
    assert rows.shape[0] == 4
    wanted = np.array([a.views[0].embedding for a in archive()[:4]])
    np.testing.assert_allclose(sorted(rows.tolist()), sorted(wanted.tolist()), atol=1e-6)
    fewer = [AskedIndex(filled).sample(BUNDLE.digest, Level.SERIES, "xray", most=2) for _ in range(2)]
    assert len(fewer[0]) == 2
    np.testing.assert_array_equal(*fewer)


def test_there_is_no_sample_of_what_is_not_there(filled: Pool) -> None:
    index = AskedIndex(filled)
    assert index.sample("ff" * 32, Level.SERIES, "xray").shape == (0, 0)
    assert len(index.sample(BUNDLE.digest, Level.SERIES, "pathology")) == 0


def test_the_audit_trail_tells_who_asked_about_which_findings(filled: Pool) -> None:
    index = AskedIndex(filled)
    asked = AskedArchive(Searcher(index, speaker(), VOCABULARY, lambda: TODAY), index)
    asked.ask(Request("pneumonia of Mustermann in women"), door="dimse", asker="WORKSTATION")
    line = trail(filled)[0]
    assert (line.event, line.study_uid) == ("search.asked", None)
    assert (line.detail["door"], line.detail["asker"]) == ("dimse", "WORKSTATION")
    assert (line.detail["present"], line.detail["filtered_by"]) == (["xray.pneumonia"], ["sexes"])
    assert line.detail["answers"] == ["2.25.1", "2.25.3"]
    assert "mustermann" not in str(line).lower()
