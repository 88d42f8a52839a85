"""Identifiers of answers, statuses, and what may be negotiated."""

from __future__ import annotations

import pytest

from dicom_node.dimse.find_answers import Frame, character_sets_for, identifier
from dicom_node.dimse.negotiation import GRANTED, _granted
from dicom_node.dimse.status import (
    COMMENT_LENGTH,
    DOES_NOT_MATCH,
    OUT_OF_RESOURCES,
    UNABLE_TO_PROCESS,
    BusyError,
    find_answer_for,
    limit_reached,
)
from dicom_node.errors import (
    DatabaseUnavailableError,
    InferenceError,
    InferenceUnavailableError,
    QuestionError,
)
from dicom_node.matching.keys import Level


@pytest.mark.parametrize(
    ("values", "asked", "expected"),
    [
        (["Doe"], (), ()),
        (["Doe"], ("ISO_IR 100",), ("ISO_IR 100",)),
        (["Müller"], (), ("ISO_IR 192",)),
        (["Müller"], ("ISO_IR 6",), ("ISO_IR 192",)),
        (["Müller"], ("ISO_IR 100",), ("ISO_IR 100",)),
        (["Müller", "山田"], ("ISO_IR 100",), ("ISO_IR 192",)),
        (["Yamada=山田"], ("", "ISO 2022 IR 87"), ("", "ISO 2022 IR 87")),
        (["Иван"], ("ISO_IR 144",), ("ISO_IR 144",)),
        (["Иван"], ("ISO_IR 101",), ("ISO_IR 192",)),
    ],
)
def test_the_character_set_holds_the_answer(
    values: list[str], asked: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert character_sets_for(values, asked) == expected


def test_where_an_entity_can_be_had() -> None:
    quiet = Frame(Level.SERIES, (), asks_availability=False, asks_retrieve_ae=False)
    made = identifier({}, quiet, None)
    assert [element.keyword for element in made] == ["QueryRetrieveLevel"]
    asking = Frame(Level.STUDY, (), asks_availability=True, asks_retrieve_ae=True)
    nowhere, there = identifier({}, asking, None), identifier({}, asking, "PACS")
    assert (nowhere.InstanceAvailability, nowhere.RetrieveAETitle) == ("UNAVAILABLE", "")
    assert (there.InstanceAvailability, there.RetrieveAETitle) == ("ONLINE", "PACS")


@pytest.mark.parametrize(
    ("error", "status", "comment"),
    [
        (QuestionError("no-level", "no level"), DOES_NOT_MATCH, "no level"),
        (QuestionError("empty-question", "Say what."), UNABLE_TO_PROCESS, "Say what."),
        (DatabaseUnavailableError("away"), OUT_OF_RESOURCES, "away"),
        (InferenceUnavailableError("away"), OUT_OF_RESOURCES, "away"),
        (InferenceError("broken"), UNABLE_TO_PROCESS, "broken"),
        (BusyError("later"), OUT_OF_RESOURCES, "later"),
        (ValueError("Doe^Jane"), UNABLE_TO_PROCESS, "internal error; the log of the node tells more"),
    ],
)  # fmt: skip
def test_errors_become_statuses(error: Exception, status: int, comment: str) -> None:
    answer = find_answer_for(error)
    assert (answer.status, answer.comment) == (status, comment)


def test_the_limit_is_told_in_one_comment() -> None:
    assert limit_reached(10**9).status == OUT_OF_RESOURCES
    assert len(limit_reached(10**9).comment) <= COMMENT_LENGTH


def test_no_more_is_granted_than_was_asked() -> None:
    assert _granted(b"\1") == b"\1"
    assert _granted(bytes([0, 1, 1])) == bytes([0, 1, 0])
    assert _granted(bytes([1] * 9)) == GRANTED
