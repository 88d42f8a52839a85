import math
from dataclasses import replace

import numpy as np
import pytest

from dicom_node.search.centres import KEPT_SECONDS, USUAL_SPREAD, Centre, Centres
from dicom_node.search.question import Statement
from dicom_node.search.rank import RARE, Judged, answers, judge, score
from tests.support.questions import BUNDLE, PNEUMONIA, archive
from tests.support.search_index import IndexInMemory

THERE = Statement("pneumonia", "pneumonia", affirmed=True, findings=(PNEUMONIA.id,), bare=True)
NOT_THERE = replace(THERE, affirmed=False)


def judged(statement: Statement, probability: float | None, likeness: float = 0.0) -> Judged:
    return judge(statement, PNEUMONIA, probability, likeness)


def test_at_the_mean_a_scored_finding_holds_as_its_calibration_says() -> None:
    assert judged(THERE, 0.8).holds == pytest.approx(0.8)
    assert judged(NOT_THERE, 0.8).holds == pytest.approx(0.2)


def test_likeness_moves_a_scored_finding_a_little_and_orders_what_is_else_equal() -> None:
    low, mean, high = (judged(THERE, 0.8, likeness).holds for likeness in (-1.0, 0.0, 1.0))
    assert 0.7 < low < mean < high < 0.9
    assert judged(NOT_THERE, 0.8, 1.0).holds < judged(NOT_THERE, 0.8, -1.0).holds


def test_what_nobody_scored_is_rare_until_it_looks_like_it() -> None:
    assert judged(THERE, None).holds == pytest.approx(1 / (1 + math.exp(-RARE)))
    assert judged(THERE, None, 4.0).holds > 0.8
    assert judged(NOT_THERE, None, 4.0).holds < 0.2


@pytest.mark.parametrize(
    ("probability", "there", "absent"), [(0.6, True, False), (0.4, True, False), (0.2, False, True)]
)
def test_where_the_model_abstains_the_finding_may_be_there(
    probability: float, there: bool, absent: bool
) -> None:
    assert judged(THERE, probability).accepted is there
    assert judged(NOT_THERE, probability).accepted is absent


def test_a_name_that_denies_its_finding_is_read_so_only_where_the_finding_is_known() -> None:
    normal = replace(THERE, text="normal ECG", denies=True)
    assert judge(normal, PNEUMONIA, 0.1, 0.0).holds == pytest.approx(0.9)
    liked, disliked = (judge(normal, None, None, likeness).holds for likeness in (2.0, -2.0))
    assert liked > disliked


def test_the_score_multiplies_what_must_hold_and_takes_either_of_alternatives() -> None:
    one, other = judged(THERE, 0.8), judged(THERE, 0.5)
    assert score([[one], [other]]) == pytest.approx(0.4)
    assert score([[one, other]]) == pytest.approx(0.9)
    assert score([[one]], similarity=0.5) == pytest.approx(0.8 * 0.75)
    assert score([], similarity=1.0) == 1.0


def test_an_alternative_that_was_found_otherwise_counts_for_nothing() -> None:
    one, refused = judged(THERE, 0.8), judged(THERE, 0.1)
    assert score([[one, refused]]) == pytest.approx(0.8)
    assert answers([[one, refused]])
    assert not answers([[one], [refused]])


def test_likeness_is_told_in_standard_deviations_of_the_archive() -> None:
    rng = np.random.default_rng(3)
    rows = rng.normal(0.2, 0.1, size=(2000, 4)).astype(np.float32)
    scale = Centre(rows).along(np.array([1, 0, 0, 0], dtype=np.float32))
    assert scale.likeness(0.2) == pytest.approx(0.0, abs=0.1)
    assert scale.likeness(0.4) == pytest.approx(2.0, abs=0.1)


def test_few_rows_have_the_usual_spread() -> None:
    one = Centre(np.ones((1, 4), dtype=np.float32) / 2).along(np.array([1, 0, 0, 0], dtype=np.float32))
    assert one.mean == pytest.approx(0.5)
    assert one.spread == pytest.approx(USUAL_SPREAD, rel=0.1)
    assert Centre(np.zeros((0, 0), dtype=np.float32)).along(np.ones(4, dtype=np.float32)).mean == 0.0


def test_a_centre_is_kept_for_a_while() -> None:
    index, now = IndexInMemory(), [0.0]
    centres = Centres(index, BUNDLE.digest, lambda: now[0])
    assert len(centres.of("xray").rows) == 0
    for assessment in archive():
        index.add(assessment)
    assert len(centres.of("xray").rows) == 0
    now[0] = KEPT_SECONDS
    assert len(centres.of("xray").rows) == 4
