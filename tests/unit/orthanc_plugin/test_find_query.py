"""What a C-FIND asks."""

import pytest

from orthanc_plugin.find_query import Key, Query, QueryError, semantic_of


def query(**values: str) -> Query:
    """Keys by `ggggeeee`."""
    keys = ((f"{name[1:5]},{name[5:]}", value) for name, value in sorted(values.items()))
    return Query(tuple(Key(tag, "", value) for tag, value in keys))


ORDINARY = {"t00080052": "STUDY", "t00081030": "Chest*", "t0020000d": ""}


def test_the_constraints_are_what_is_not_empty_and_says_something_of_an_object() -> None:
    asked = query(t00080005="ISO_IR 192", t00080000="8", **ORDINARY)
    assert asked.constraints() == {"0008,1030": "Chest*"}
    assert asked.level == "Study"


@pytest.mark.parametrize("level", ["", "WARD"])
def test_a_query_without_a_level_is_refused(level: str) -> None:
    with pytest.raises(QueryError, match="Level"):
        _ = query(t00080052=level).level


def test_an_ordinary_query_asks_nothing_in_words() -> None:
    assert semantic_of(query(**ORDINARY), "ORTHANC") is None
    assert semantic_of(query(t4d330010="SOMEBODY", t4d331001="pneumonia", **ORDINARY), "ORTHANC") is None
    assert semantic_of(query(t4d330010="M3BIND", t4d331001="", **ORDINARY), "ORTHANC") is None
    assert semantic_of(query(t00080052="STUDY", t00081030="*"), "M3BIND_FIND") is None


def test_the_private_block_asks_and_its_keys_are_not_matched() -> None:
    asked = semantic_of(
        query(t4d330011="M3BIND ", t4d331101="pneumonia\0", t4d331104="1.2.3", **ORDINARY), "ORTHANC"
    )
    assert asked is not None
    assert (asked.text, asked.similar_to, asked.block) == ("pneumonia", "1.2.3", 0x11)
    assert asked.rest == query(**ORDINARY)


def test_the_ae_title_makes_a_question_of_the_study_description() -> None:
    asked = semantic_of(query(**ORDINARY), "M3BIND_FIND")
    assert asked is not None
    assert (asked.text, asked.block) == ("Chest", None)
    assert asked.rest.constraints() == {}
    assert "0008,1030" in asked.rest.tags
