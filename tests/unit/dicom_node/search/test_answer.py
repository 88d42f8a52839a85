from datetime import date

import pytest

from dicom_node.errors import QuestionError
from dicom_node.records import BundleIdentity, Presence
from dicom_node.search.answer import Answer, Request, Searcher
from dicom_node.search.coverage import KEPT_SECONDS, Coverage
from dicom_node.search.dates import Days
from dicom_node.search.ports import Speaker
from dicom_node.search.question import Reason
from dicom_node.search.service import AskedArchive
from dicom_node.search.told import tags_of
from dicom_node.store.search_facts import BundleCoverage
from tests.support.questions import (
    BUNDLE,
    CATALOGUE,
    SPEAKER_MODALITIES,
    TODAY,
    VOCABULARY,
    archive,
    embedded,
    entry,
    speaker,
)
from tests.support.search_index import IndexInMemory

PNEUMONIA = "xray.pneumonia"
EFFUSION = "xray.pleural_effusion"


@pytest.fixture
def index() -> IndexInMemory:
    made = IndexInMemory()
    for assessment in archive():
        made.add(assessment)
    return made


@pytest.fixture
def searcher(index: IndexInMemory) -> Searcher:
    return Searcher(index, speaker(), VOCABULARY, lambda: TODAY)


def ask(searcher: Searcher, text: str = "", **request: object) -> list[int]:
    return numbers(searcher.ask(Request(text, **request)))  # type: ignore[arg-type]


def numbers(answer: Answer) -> list[int]:
    return [int(hit.row.study_uid.removeprefix("2.25.")) for hit in answer.hits]


def test_what_was_found_answers_best_first_and_what_was_not_does_not(searcher: Searcher) -> None:
    # 3 is where the model abstains: it may be there.
    assert ask(searcher, "pneumonia") == [1, 2, 3]


def test_a_denial_ranks_by_absence(searcher: Searcher) -> None:
    assert ask(searcher, "no pneumonia") == [4]
    assert ask(searcher, "no effusion") == [1, 2]


def test_a_denial_returns_nothing_of_what_the_affirmed_question_does(searcher: Searcher) -> None:
    for finding in ("pneumonia", "effusion", "lung cancer"):
        assert not set(ask(searcher, finding, modalities=("xray", "ct"))) & set(
            ask(searcher, f"no {finding}")
        )


def test_out_of_scope_never_answers(searcher: Searcher) -> None:
    assert 5 not in ask(searcher, "pneumonia")
    assert 5 not in ask(searcher, "no effusion")


def test_all_statements_must_hold_and_one_alternative(searcher: Searcher) -> None:
    assert ask(searcher, "pneumonia without effusion") == [1, 2]
    assert ask(searcher, "pneumonia and effusion") == [3]
    assert set(ask(searcher, "pneumonia or effusion")) == {1, 2, 3, 4}


def test_the_score_is_the_probability_that_all_holds(searcher: Searcher) -> None:
    one = searcher.ask(Request("pneumonia, no effusion")).hits[0]
    assert one.score is not None
    holds = [judged.holds for judged in one.why]
    assert one.score == pytest.approx(holds[0] * holds[1])
    assert 0.5 < one.score < 1.0


def test_every_answer_says_why(searcher: Searcher) -> None:
    hit = searcher.ask(Request("pneumonia, no effusion")).hits[0]
    there, absent = hit.why
    assert there.finding is not None
    assert (there.finding.id, there.probability, there.presence) == (PNEUMONIA, 0.95, Presence.PRESENT)
    assert (absent.probability, absent.presence, absent.statement.words) == (
        0.1,
        Presence.ABSENT,
        "no effusion",
    )
    assert [region.finding_id for region in hit.regions] == [PNEUMONIA]
    assert hit.regions[0].place["outline"] == [[0.0, 0.0], [9.0, 0.0], [9.0, 9.0]]


def test_attributes_filter(searcher: Searcher) -> None:
    assert ask(searcher, "pneumonia in women", modalities=("xray",)) == [1, 3]
    assert ask(searcher, "pneumonia, over 65", modalities=("xray",)) == [2, 3]
    assert ask(searcher, "women last month") == [3, 1]
    assert ask(searcher, "pneumonia", days=Days(date(2026, 10, 2), None)) == [2, 3]


def test_what_an_object_does_not_tell_of_its_body_part_does_not_speak_against_it(searcher: Searcher) -> None:
    answer = searcher.ask(Request("chest, effusion", modalities=("xray",)))
    assert numbers(answer) == [4, 3]
    assert [hit.silent for hit in answer.hits] == [("body part",), ()]
    assert ask(searcher, "knee, effusion", modalities=("xray",)) == [4]


def test_the_other_eye_does_not_answer(searcher: Searcher) -> None:
    assert ask(searcher, "retinopathy of the left eye") == [8]
    assert ask(searcher, "right diabetic retinopathy", modalities=("retina",)) == [9]


@pytest.mark.parametrize(
    ("text", "modalities"),
    [
        ("no lung cancer", {"ct"}),
        ("lung cancer", {"ct"}),
        ("lung cancer or diabetic retinopathy", {"ct", "retina"}),
        ("lung cancer, no pneumonia", {"ct"}),
        ("ECG or CT with lung cancer", {"ct"}),
        ("retina or CT with lung cancer", {"ct", "retina"}),
        ("diabetic retinopathy, not CT", {"retina"}),
    ],
)
def test_those_answer_that_could_have_seen_it(searcher: Searcher, text: str, modalities: set[str]) -> None:
    assert {hit.row.modality for hit in searcher.ask(Request(text)).hits} == modalities


def test_what_no_modality_knows_is_ranked_by_likeness_and_said(searcher: Searcher) -> None:
    answer = searcher.ask(Request("cavity"))
    assert numbers(answer)[0] == 7
    assert any("likeness alone" in note for note in answer.notes)


def test_what_names_no_finding_has_no_probability_and_is_told_by_likeness(searcher: Searcher) -> None:
    answer = searcher.ask(Request("cavity"))
    assert answer.hits
    assert all(hit.score is None and hit.by_likeness for hit in answer.hits)
    assert all(tags_of(hit)[0] == "by likeness of words alone" for hit in answer.hits)
    assert [hit.rank for hit in answer.hits] == sorted((hit.rank for hit in answer.hits), reverse=True)
    assert any(
        "No finding is known" in note and "mean " not in note.split("nothing.")[1] for note in answer.notes
    )


def test_a_scored_finding_has_a_probability_beside_other_words(searcher: Searcher) -> None:
    for text in ("pneumonia", "pneumonia, cavity"):
        hit = searcher.ask(Request(text)).hits[0]
        assert hit.score is not None
        assert "by likeness of words alone" not in tags_of(hit)


def test_a_slip_of_the_pen_is_answered_with_what_may_be_meant(searcher: Searcher) -> None:
    (note,) = searcher.ask(Request("pneumonai")).notes
    assert note.endswith("Did you mean pneumonia?")


def test_a_modality_that_knows_one_alternative_does_not_answer_for_the_others(searcher: Searcher) -> None:
    # In 7 the node found no cancer; what a CT has of retinopathy does not matter.
    assert set(ask(searcher, "lung cancer or diabetic retinopathy")) == {6, 8, 9}


@pytest.mark.parametrize("text", ["cancer", "tumours", "malignancies", "malignant tumour"])
def test_cancer_is_whatever_cancer_the_bundle_knows(searcher: Searcher, text: str) -> None:
    assert ask(searcher, text) == [6]
    assert ask(searcher, f"no {text}") == [7]


@pytest.mark.parametrize("modalities", [(), ("ct",)])
@pytest.mark.parametrize(("text", "same_as"), [("cancer", "lung cancer"), ("no cancer", "no lung cancer")])
def test_kinds_that_a_modality_does_not_know_do_not_speak_there(
    index: IndexInMemory, text: str, same_as: str, modalities: tuple[str, ...]
) -> None:
    known = (*CATALOGUE, entry("ecg.adenocarcinoma", "Adenocarcinoma"))
    told = Speaker(BUNDLE, SPEAKER_MODALITIES, known, frozenset(one.id for one in known), embedded)
    searcher = Searcher(index, told, VOCABULARY, lambda: TODAY)
    answer = searcher.ask(Request(text, modalities))
    expected = searcher.ask(Request(same_as, modalities))
    assert [(hit.row.study_uid, hit.score) for hit in answer.hits] == [
        (hit.row.study_uid, hit.score) for hit in expected.hits
    ]
    assert answer.hits
    assert answer.notes == ()


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "pneumonia in men over 100",
            "3 studies have Pneumonia; none of them passes what is asked of sex and age.",
        ),
        ("lung cancer since 2026-11", "1 study has Lung cancer; none of them passes what is asked of date."),
        (
            "effusion, no pneumonia, yesterday",
            "1 study has Pleural effusion, and no Pneumonia; none of them passes what is asked of date.",
        ),
    ],
)
def test_an_empty_answer_says_what_stands_against_it(searcher: Searcher, text: str, note: str) -> None:
    answer = searcher.ask(Request(text))
    assert (answer.hits, answer.notes) == ((), (note,))


def test_an_answer_that_is_empty_without_filters_too_has_no_such_note(searcher: Searcher) -> None:
    answer = searcher.ask(Request("pneumonia, no effusion, lung cancer, in men", modalities=("MR",)))
    assert answer.hits == ()
    assert not any("passes" in note for note in answer.notes)


def test_words_that_say_more_than_the_finding_are_told(searcher: Searcher) -> None:
    (note,) = searcher.ask(Request("old apical bronchopneumonia")).notes
    assert note.startswith("Pneumonia: the words say more than that")
    assert searcher.ask(Request("bronchopneumonia")).notes == (note,)
    assert searcher.ask(Request("pneumonia")).notes == ()


def test_what_the_node_does_not_report_is_said(searcher: Searcher) -> None:
    answer = searcher.ask(Request("no nodule"))
    assert {hit.row.modality for hit in answer.hits} == {"xray"}
    assert all(judged.probability is None for hit in answer.hits for judged in hit.why)
    assert any("not reported by this node" in note for note in answer.notes)


def test_studies_like_another_come_from_all_modalities(searcher: Searcher) -> None:
    found = ask(searcher, similar_to="2.25.1")
    assert found[0] == 2
    assert 1 not in found
    assert {6, 7, 8, 9} <= set(found)
    assert ask(searcher, similar_to="2.25.1.1")[0] == 2


def test_an_example_and_a_question_are_asked_together(searcher: Searcher) -> None:
    assert ask(searcher, "no effusion", similar_to="2.25.4") == [2, 1]


def test_an_unknown_example_is_refused(searcher: Searcher) -> None:
    with pytest.raises(QuestionError) as caught:
        ask(searcher, similar_to="2.25.77")
    assert caught.value.reason == Reason.UNKNOWN_EXAMPLE


def test_the_limit_is_kept_and_the_best_stay(searcher: Searcher) -> None:
    assert ask(searcher, "pneumonia", modalities=("xray",), limit=1) == [1]


def test_a_code_names_its_modality_and_one_without_an_encoder_is_said(searcher: Searcher) -> None:
    assert ask(searcher, "pneumonia", modalities=("DX",)) == [1, 2, 3]
    answer = searcher.ask(Request("pneumonia", modalities=("MR",)))
    assert (numbers(answer), "MR" in answer.notes[0]) == ([], True)


def test_studies_of_another_bundle_are_counted(searcher: Searcher, index: IndexInMemory) -> None:
    index.elsewhere = (BundleCoverage(BundleIdentity("older", "0.1.0", "cd" * 32), 256, 12, 12, 0),)
    assert searcher.ask(Request("pneumonia")).not_covered == 12


def test_they_are_counted_again_after_a_while(index: IndexInMemory) -> None:
    now = [0.0]
    coverage = Coverage(index, BUNDLE, lambda: now[0])
    assert coverage.missing() == 0
    index.elsewhere = (BundleCoverage(BundleIdentity("older", "0.1.0", "cd" * 32), 256, 12, 12, 0),)
    assert coverage.missing() == 0
    now[0] = KEPT_SECONDS
    assert coverage.missing() == 12


def test_an_empty_archive_answers_with_nothing() -> None:
    empty = Searcher(IndexInMemory(), speaker(), VOCABULARY, lambda: TODAY)
    assert empty.ask(Request("pneumonia, no effusion")).hits == ()
    assert empty.ask(Request("cavity")).hits == ()


def test_the_trail_tells_who_asked_and_none_of_the_words(searcher: Searcher) -> None:
    kept: list[dict[str, object]] = []

    class Kept:
        def note_asked(self, door: str, asker: str, **detail: object) -> None:
            kept.append({"door": door, "asker": asker, **detail})

    AskedArchive(searcher, Kept()).ask(
        Request("pneumonia, no effusion, Smith, women"), door="http", asker="127.0.0.1"
    )
    (line,) = kept
    assert (line["door"], line["asker"]) == ("http", "127.0.0.1")
    assert (line["present"], line["absent"], line["in_words"]) == ([PNEUMONIA], [EFFUSION], 1)
    assert line["filtered_by"] == ["sexes"]
    assert "smith" not in str(line).lower()
