from datetime import date

import pytest

from dicom_node.errors import ConfigError, QuestionError
from dicom_node.search.ages import read_years
from dicom_node.search.dates import Days, read_days
from dicom_node.search.fields import read_range
from dicom_node.search.vocabulary import Years, load_vocabulary
from tests.support.questions import TODAY, VOCABULARY, understood


def days(first: str | None, last: str | None) -> Days:
    return Days(*(None if day is None else date.fromisoformat(day) for day in (first, last)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yesterday", days("2026-11-21", "2026-11-21")),
        ("last month", days("2026-10-01", "2026-10-31")),
        ("past month", days("2026-10-22", "2026-11-22")),
        ("in the last 3 weeks", days("2026-11-01", "2026-11-22")),
        ("last week", days("2026-11-09", "2026-11-15")),
        ("this year", days("2026-01-01", "2026-12-31")),
        ("2 weeks ago", days("2026-11-08", "2026-11-08")),
        ("since 2 weeks ago", days("2026-11-08", None)),
        ("since 2024-01", days("2024-01-01", None)),
        ("after 2024", days("2025-01-01", None)),
        ("before 2020", days(None, "2019-12-31")),
        ("until 2024-02", days(None, "2024-02-29")),
        ("in 2023", days("2023-01-01", "2023-12-31")),
        ("2023-2024", days("2023-01-01", "2024-12-31")),
        ("from March to May 2024", days("2024-03-01", "2024-05-31")),
        ("from last month", days("2026-10-01", "2026-10-31")),
        ("from 2024 onwards", days("2024-01-01", None)),
        ("from 2024 on", days("2024-01-01", None)),
        ("from 2023 to 2024-02", days("2023-01-01", "2024-02-29")),
        ("between 2024-01-05 and 15 March 2024", days("2024-01-05", "2024-03-15")),
        ("March 15th, 2024", days("2024-03-15", "2024-03-15")),
        ("in March", days("2026-03-01", "2026-03-31")),
        ("in December", days("2025-12-01", "2025-12-31")),
        ("last Monday", days("2026-11-16", "2026-11-16")),
        ("20240115", days("2024-01-15", "2024-01-15")),
        ("20240101-20240131", days("2024-01-01", "2024-01-31")),
    ],
)
def test_dates_in_words(text: str, expected: Days) -> None:
    tokens = VOCABULARY.tokens(text)
    assert read_days(tokens, 0, VOCABULARY.dates, TODAY) == (expected, len(tokens))


@pytest.mark.parametrize("text", ["may", "over 60", "after surgery", "in the right lung", "last rib", "8 mm"])
def test_words_that_are_no_dates(text: str) -> None:
    assert read_days(VOCABULARY.tokens(text), 0, VOCABULARY.dates, TODAY) is None


@pytest.mark.parametrize(
    "text",
    [
        "since 2024-13",
        "2024-02-30",
        "03/04/2024",
        "since Christmas",
        "from 2024 to 2023",
        "9999999 years ago",
    ],
)
def test_dates_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        read_days(VOCABULARY.tokens(text), 0, VOCABULARY.dates, TODAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240101-20240131", days("2024-01-01", "2024-01-31")),
        ("20240101-", days("2024-01-01", None)),
        ("-20240131", days(None, "2024-01-31")),
        ("2024-01-01/2024-01-31", days("2024-01-01", "2024-01-31")),
        ("2024", days("2024-01-01", "2024-12-31")),
        ("last month", days("2026-10-01", "2026-10-31")),
    ],
)
def test_a_field_of_dates(text: str, expected: Days) -> None:
    assert read_range(text, VOCABULARY, TODAY) == expected


@pytest.mark.parametrize("text", ["", "-", "pneumonia", "2024 pneumonia", "2024-02-01/2024-01-01"])
def test_a_field_that_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(QuestionError):
        read_range(text, VOCABULARY, TODAY)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("over 60", Years(least=61)),
        ("older than 60 years", Years(least=61)),
        ("at least 60", Years(least=60)),
        (">= 18", Years(least=18)),
        ("60+", Years(least=60)),
        ("65 years or older", Years(least=65)),
        ("under 18", Years(below=18)),
        ("<18", Years(below=18)),
        ("at most 60", Years(below=61)),
        ("aged 40-50", Years(40, 51)),
        ("between 40 and 50", Years(40, 51)),
        ("40-50 years old", Years(40, 51)),
        ("65-year-old", Years(65, 66)),
        ("65 y/o", Years(65, 66)),
        ("aged 65", Years(65, 66)),
    ],
)
def test_ages_in_words(text: str, expected: Years) -> None:
    tokens = VOCABULARY.tokens(text)
    assert read_years(tokens, 0, VOCABULARY.numbers, people=False) == (expected, len(tokens))


@pytest.mark.parametrize(
    "text",
    [
        "over 100 bpm",
        "more than 3 nodules",
        "over 8 mm",
        "between 2 and 5 lesions",
        "10 year follow up",
        "2023",
    ],
)
def test_numbers_that_are_no_ages(text: str) -> None:
    assert read_years(VOCABULARY.tokens(text), 0, VOCABULARY.numbers, people=False) is None


def test_months_are_parts_of_a_year() -> None:
    found = read_years(VOCABULARY.tokens("under 6 months"), 0, VOCABULARY.numbers, people=False)
    assert found is not None
    assert found[0].below == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "modalities"),
    [
        ("chest x-ray with pneumonia", ("xray",)),
        ("CXR: pneumonia", ("xray",)),
        ("CT or ECG with pneumonia", ("ct", "ecg")),
        ("fundus photographs with retinopathy", ("retina",)),
        ("pneumonia on DX", ("xray",)),
        ("EKG with pneumonia", ("ecg",)),
        ("no CT evidence of lung cancer", ("ct",)),
    ],
)
def test_modalities_are_filters(text: str, modalities: tuple[str, ...]) -> None:
    assert understood(text).wanted.modalities == modalities


def test_a_modality_can_be_left_out() -> None:
    assert understood("lung cancer, not CT").wanted.not_modalities == ("ct",)


def test_a_modality_without_an_encoder_is_named_by_its_code() -> None:
    assert understood("MRI with lung cancer").wanted.codes == ("MR",)


@pytest.mark.parametrize(
    ("text", "codes"), [("show us pneumonia", ()), ("SHOW US PNEUMONIA", ()), ("US, pneumonia", ("US",))]
)
def test_a_word_that_looks_like_a_code_is_one_in_capitals_alone(text: str, codes: tuple[str, ...]) -> None:
    assert understood(text).wanted.codes == codes


@pytest.mark.parametrize(
    ("text", "sexes", "years"),
    [
        ("pneumonia in women", ("F",), None),
        ("boys with pneumonia", ("M",), Years(below=18)),
        ("pneumonia in men and women", (), None),
        ("pneumonia in children", (), Years(below=18)),
        ("pneumonia, female 65y", ("F",), Years(65, 66)),
        ("elderly men with pneumonia", ("M",), Years(least=65)),
        ("patients over 60 pneumonia", (), Years(least=61)),
    ],
)
def test_people(text: str, sexes: tuple[str, ...], years: Years | None) -> None:
    wanted = understood(text).wanted
    assert (wanted.sexes, wanted.years) == (sexes, years)


def test_the_side_of_an_eye_filters_and_that_of_a_finding_does_not() -> None:
    assert understood("diabetic retinopathy of the left eye").wanted.sides == ("L",)
    effusion = understood("left pleural effusion")
    assert effusion.wanted.sides == ()
    assert effusion.statements[0].side == "L"


def test_a_part_of_the_body_filters_by_all_names_that_it_goes_by() -> None:
    assert {"CHEST", "THORAX"} <= set(understood("chest, pneumonia").wanted.body_parts)


def test_a_phrase_with_two_meanings_is_refused() -> None:
    from importlib import resources

    table = (resources.files("dicom_node.search") / "vocabulary.toml").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="two meanings"):
        load_vocabulary(table.replace('nor = ["nor"]', 'nor = ["nor", "or"]'))
