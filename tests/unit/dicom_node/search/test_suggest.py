import pytest

from dicom_node.search.question import Statement
from dicom_node.search.suggest import Suggestions
from tests.support.questions import CATALOGUE, TERMS, VOCABULARY


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pneumonai", "pneumonia"),
        ("plural efusion", "pleural effusion"),
        ("severe efusion", "effusion"),
        ("radiogrph", "radiograph"),
        ("purple elephants", None),
        ("asdfgh qwerty", None),
        ("John Doe", None),
        ("fracture", None),
        ("masz", None),
    ],
)
def test_only_what_is_near_by_letters_is_suggested(text: str, name: str | None) -> None:
    suggestions = Suggestions(CATALOGUE, VOCABULARY, TERMS)
    assert suggestions.nearest(Statement(text, text, True)) == name
