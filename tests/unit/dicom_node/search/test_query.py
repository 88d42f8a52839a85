import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.errors import QuestionError
from dicom_node.search.query import LONGEST, parse
from dicom_node.search.question import Reason, Wanted
from dicom_node.search.terms import terms_of
from dicom_node.search.vocabulary import Years
from tests.support.questions import CATALOGUE, TODAY, VOCABULARY, entry, told, understood


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("pneumonia", "+pneumonia"),
        ("no pneumothorax", "-pneumothorax"),
        ("no effusion or pneumothorax", "-effusion, -pneumothorax"),
        ("no effusion and pneumothorax", "-effusion, -pneumothorax"),
        ("without pneumonia, effusion or nodule, but with cardiomegaly",
         "-pneumonia, -effusion, -nodule, +cardiomegaly"),
        ("no effusion, pneumothorax, and nodule", "-effusion, -pneumothorax, -nodule"),
        ("no effusion, and pneumonia", "-effusion, +pneumonia"),
        ("no pneumothorax, pneumonia", "-pneumothorax, +pneumonia"),
        ("no effusion or nodule, pneumonia and edema", "-effusion, -nodule, +pneumonia, +edema"),
        ("free of pneumonia", "-pneumonia"),
        ("absence of effusion", "-effusion"),
        ("negative for pneumonia", "-pneumonia"),
        ("neither pneumonia nor effusion", "-pneumonia, -effusion"),
        ("no evidence of pneumonia or evidence of effusion", "-pneumonia, -effusion"),
        ("no signs of pneumonia", "-pneumonia"),
        ("pneumothorax absent", "-pneumothorax"),
        ("pneumonia and effusion not seen, nodule", "-pneumonia, -effusion, +nodule"),
        ("pneumothorax: not present. Pneumonia present.", "-pneumothorax, +pneumonia"),
        ("pneumonia ruled out", "-pneumonia"),
        ("pneumonia w/o effusion", "+pneumonia, -effusion"),
        ("no pneumonia with effusion", "-pneumonia, +effusion"),
        ("not without effusion", "+effusion"),
        ("not only pneumonia but also effusion", "+pneumonia, +effusion"),
        ("pneumonia unlikely, effusion", "-pneumonia, +effusion"),
        ("lung cancer, no effusion; nodule", "+lung cancer, -effusion, +nodule"),
    ],
)  # fmt: skip
def test_a_denial_reaches_as_far_as_it_is_meant(text: str, statements: str) -> None:
    assert told(text) == statements


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("pneumonia or effusion", "+pneumonia | +effusion"),
        ("pneumonia, effusion or nodule", "+pneumonia | +effusion | +nodule"),
        ("pneumonia and effusion", "+pneumonia, +effusion"),
        ("either pneumonia or effusion, nodule", "+pneumonia | +effusion, +nodule"),
        ("pneumonia or no effusion", "+pneumonia | -effusion"),
        ("no pneumonia or no effusion", "-pneumonia | -effusion"),
    ],
)
def test_or_makes_alternatives_of_what_is_affirmed(text: str, statements: str) -> None:
    assert told(text) == statements


def test_a_statement_keeps_the_words_round_its_finding() -> None:
    (statement,) = understood("show me a large right pleural effusion in the lower lobe of women").statements
    assert statement.text == "large right pleural effusion in the lower lobe"
    assert statement.findings == ("xray.pleural_effusion",)
    assert statement.side == "R"
    assert not statement.bare


@pytest.mark.parametrize(
    "text", ["latest x-rays with possible pneumonia", "how many patients have pneumonia?"]
)
def test_words_round_a_question_say_nothing(text: str) -> None:
    (statement,) = understood(text).statements
    assert (statement.text, statement.bare) == ("pneumonia", True)


def test_findings_side_by_side_are_statements_of_their_own() -> None:
    assert told("acute pneumonia small effusion") == "+acute pneumonia, +small effusion"


def test_a_synonym_is_spelled_out_for_the_encoder_and_kept_for_people() -> None:
    (statement,) = understood("left sided PTX").statements
    assert (statement.text, statement.prompt) == ("left sided PTX", "left sided pneumothorax")
    assert statement.findings == ("xray.pneumothorax",)


@pytest.mark.parametrize(
    "text", ["pulmonary oedema", "Pulmonary Edema", "pulmonary edemas", "PULMONARY œdema".replace("œ", "oe")]
)
def test_spelling_and_number_make_no_difference(text: str) -> None:
    assert understood(text).statements[0].findings == ("xray.pulmonary_edema",)


@pytest.mark.parametrize("text", ["nonspecific ST-T abnormality", "non-specific ST T abnormalities"])
def test_hyphens_make_no_difference(text: str) -> None:
    assert understood(text).statements[0].findings == ("ecg.st_t_abnormality",)


def test_the_longest_name_wins() -> None:
    question = understood("left axis deviation")
    assert question.statements[0].findings == ("ecg.left_axis_deviation",)
    assert question.statements[0].side is None


@pytest.mark.parametrize(("text", "present"), [("normal ECG", False), ("no normal ECG", True)])
def test_a_prompt_against_a_finding_names_its_absence(text: str, present: bool) -> None:
    (statement,) = understood(text).statements
    assert (statement.findings, statement.present) == (("ecg.abnormal",), present)


def test_the_question_of_the_issue() -> None:
    question = understood("Bilateral pleural effusion, no pneumothorax, women over 60, last month")
    effusion, pneumothorax = question.statements
    assert (effusion.side, effusion.present, pneumothorax.present) == ("B", True, False)
    wanted = question.wanted
    assert (wanted.sexes, wanted.years) == (("F",), Years(least=61.0))
    assert wanted.days is not None
    assert (str(wanted.days.first), str(wanted.days.last)) == ("2026-10-01", "2026-10-31")


def test_what_is_to_be_ruled_out_is_neither() -> None:
    question = understood("effusion, rule out pneumonia or nodule")
    assert [statement.text for statement in question.statements] == ["effusion"]
    assert question.undecided == ("pneumonia", "nodule")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.EMPTY),
        (" , ?", Reason.EMPTY),
        ("show me all studies", Reason.NOTHING_SAID),
        ("rule out pneumonia", Reason.NOTHING_SAID),
        ("pneumonia without pneumonia", Reason.CONTRADICTION),
        ("pneumonia, no pulmonary infection", Reason.CONTRADICTION),
        ("normal ECG with abnormalities", Reason.CONTRADICTION),
        ("loculation, no loculation", Reason.CONTRADICTION),
        ("pneumonia, no", Reason.DANGLING),
        ("no no pneumonia", Reason.DOUBLE),
        ("no pneumonia absent", Reason.DOUBLE),
        ("pneumonia, not women", Reason.EXCLUDED_ATTRIBUTE),
        ("pneumonia in women over 60 under 40", Reason.EMPTY_AGES),
        ("pneumonia in 2023 since 2024", Reason.EMPTY_DATES),
        ("pneumonia since 2024-13", "unknown-date"),
        ("x" * (LONGEST + 1), Reason.TOO_LONG),
        (", ".join(f"shadow{n}" for n in range(13)), Reason.TOO_LONG),
    ],
)
def test_what_cannot_be_answered_is_told_with_what_to_do(text: str, reason: str) -> None:
    with pytest.raises(QuestionError) as caught:
        understood(text)
    assert caught.value.reason == reason
    assert str(caught.value).endswith(".")


def test_an_error_tells_where_and_quotes_nothing() -> None:
    text = "John Smith, pneumonia since 2024-13"
    with pytest.raises(QuestionError) as caught:
        understood(text)
    assert caught.value.span is not None
    assert text[slice(*caught.value.span)] == "2024-13"
    assert "2024-13" not in str(caught.value)


def test_both_sides_contradict_no_single_one() -> None:
    assert told("left effusion, no right effusion") == "+left effusion, -right effusion"


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["no", "not", "or", "and", ",", ".", "with", "without", "but", "over", "60", "women", "last",
                 "month", "since", "2024", "-", "/", "left", "ECG", "pneumonia", "pleural effusion", "normal",
                 "absent", "of", "x-ray", "between", "aged", "ago"]
            ),
            st.text(max_size=6),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_any_text_is_understood_or_refused_in_words(words: list[str]) -> None:
    text = " ".join(words)
    refused = None
    try:
        question = understood(text)
    except QuestionError as error:
        refused = error
    if refused is None:
        assert question.statements or question.wanted != Wanted()
    else:
        assert refused.span is None or 0 <= refused.span[0] < refused.span[1] <= len(text)


def test_the_same_question_is_understood_the_same_in_capitals() -> None:
    text = "Bilateral pleural effusion, no pneumothorax, women over 60, last month"
    loud = understood(text.upper())
    assert [s.findings for s in loud.statements] == [s.findings for s in understood(text).statements]
    assert loud.wanted == understood(text).wanted


def test_what_the_bundle_lacks_is_a_statement_without_a_finding() -> None:
    (statement,) = understood("cardiomegaly").statements
    assert (statement.prompt, statement.findings) == ("cardiomegaly", ())


@pytest.mark.parametrize("text", ["show me all CTs", "all chest CTs", "cts", "CT's"])
def test_codes_of_modalities_have_plurals(text: str) -> None:
    question = understood(text)
    assert (question.statements, question.wanted.modalities) == ((), ("ct",))


def test_plurals_of_codes_that_are_words_count_in_capitals_only() -> None:
    assert understood("DXs, women").wanted.modalities == ("xray",)
    assert understood("MRIs").wanted.codes == ("MR",)
    assert understood("dxs, women").wanted.modalities == ()


def test_a_general_name_stands_for_any_of_its_kinds_and_denied_for_none() -> None:
    entries = (*CATALOGUE, entry("pathology.adenocarcinoma", "Adenocarcinoma"))
    terms = terms_of(entries, VOCABULARY)

    def kinds(text: str) -> list[list[tuple[str, bool]]]:
        question = parse(text, VOCABULARY, terms, TODAY)
        return [[(one.text, one.present) for one in group.any_of] for group in question.all_of]

    assert kinds("cancer") == [[("lung cancer", True), ("adenocarcinoma", True)]]
    assert kinds("no cancer") == [[("lung cancer", False)], [("adenocarcinoma", False)]]
    assert kinds("cancer or tumour or pneumonia") == [
        [("lung cancer", True), ("adenocarcinoma", True), ("pneumonia", True)]
    ]
    with pytest.raises(QuestionError):
        kinds("cancer without cancer")


def test_kinds_that_are_not_scored_are_left_out() -> None:
    entries = (*CATALOGUE, entry("pathology.adenocarcinoma", "Adenocarcinoma"))
    terms = terms_of(entries, VOCABULARY, {"ct.malignant_tumour"})
    question = parse("cancer", VOCABULARY, terms, TODAY)
    assert [one.findings for one in question.statements] == [("ct.malignant_tumour",)]
