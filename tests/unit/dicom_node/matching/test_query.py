"""Queries as a whole: what is refused, what SQL is told, and dates and times together."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_node.errors import QuestionError
from dicom_node.matching.attributes import split
from dicom_node.matching.keys import KEYS, Level, tag_of
from dicom_node.matching.narrow import computed_of, narrowing_of
from dicom_node.matching.query import Query, Root, in_zone, read_query
from dicom_node.matching.times import offset_of
from dicom_node.matching.values import PLAIN, Rules
from dicom_node.store.find_facts import Narrowing


def attributes(**values: str) -> dict[str, dict[str, Any]]:
    made = {}
    for keyword, text in values.items():
        tag = tag_of(keyword)
        value = split(text, KEYS[tag].vr)
        made[tag] = {"vr": KEYS[tag].vr, **({"Value": value} if value else {})}
    return made


def query(rules: Rules = PLAIN, level: Level = Level.STUDY, **keys: str) -> Query:
    return read_query(attributes(**keys), level, Root.STUDY, rules)


def fulfils(asked: Query, **held: str) -> bool:
    return asked.fulfilled_by(attributes(**held))


def test_apart_dates_and_times_are_two_ranges() -> None:
    asked = query(StudyDate="20240101-20240103", StudyTime="2000-0400")
    assert not fulfils(asked, StudyDate="20240102", StudyTime="210000")


@pytest.mark.parametrize(
    ("date", "time", "expected"),
    [
        ("20240101", "195959", False),
        ("20240101", "200000", True),
        ("20240102", "120000", True),
        ("20240103", "040030", True),
        ("20240103", "040100", False),
        ("20240102", "", True),
        ("", "210000", False),
    ],
)
def test_together_they_are_one(date: str, time: str, expected: bool) -> None:
    asked = query(Rules(combined_datetime=True), StudyDate="20240101-20240103", StudyTime="2000-0400")
    assert fulfils(asked, StudyDate=date, StudyTime=time) is expected
    assert narrowing_of(asked) == Narrowing(from_date="20240101", until_date="20240103")


def test_an_entity_is_seen_in_the_zone_of_the_question() -> None:
    asked = query(Rules(timezone_adjusted=True), StudyDate="20231231", TimezoneOffsetFromUTC="-0500")
    new_year = {"StudyDate": "20240101", "StudyTime": "0330", "TimezoneOffsetFromUTC": "+0100"}
    assert fulfils(asked, **new_year)
    assert not fulfils(query(StudyDate="20231231", TimezoneOffsetFromUTC="-0500"), **new_year)
    assert narrowing_of(asked) == Narrowing(from_date="20231230", until_date="20240101")
    zone = offset_of("-0500")
    assert zone is not None
    moved = in_zone(attributes(**new_year, AcquisitionDateTime="2024"), zone)
    told = [moved[tag_of(word)]["Value"][0] for word in ("StudyDate", "StudyTime", "AcquisitionDateTime")]
    assert told == ["20231231", "2130", "2024+0100"]
    unknown = attributes(StudyDate="00010101", StudyTime="0000", TimezoneOffsetFromUTC="+1400")
    assert in_zone(unknown, zone) == unknown


@pytest.mark.parametrize("text", ["0100", "+1", "+1500", "Z", ""])
def test_what_is_no_offset(text: str) -> None:
    assert offset_of(text) is None


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, Narrowing()),
        ({"PatientName": "*"}, Narrowing()),
        ({"PatientName": "Müller^*"}, Narrowing(names_like=("muller^%", "muller"))),
        ({"PatientName": "a=b"}, Narrowing()),
        ({"PatientID": "P_1"}, Narrowing(patient_ids=("P_1",))),
        ({"PatientID": "P_1*"}, Narrowing(patient_id_like="P\\_1%")),
        ({"PatientID": "A\\B"}, Narrowing()),
        ({"AccessionNumber": "?"}, Narrowing(accession_number_like="_")),
        ({"StudyInstanceUID": "1.2\\1.3"}, Narrowing(study_uids=("1.2", "1.3"))),
        ({"ModalitiesInStudy": "C*"}, Narrowing(modalities_in_study_like=("C%",))),
        ({"StudyDate": "-99991231"}, Narrowing(until_date="99991231")),
    ],
)
def test_what_sql_is_told(keys: dict[str, str], expected: Narrowing) -> None:
    assert narrowing_of(query(**keys)) == expected


def test_what_is_counted_is_only_what_is_asked() -> None:
    assert computed_of(query(PatientID="")) == ()
    assert computed_of(query(NumberOfStudyRelatedSeries="", ModalitiesInStudy="")) == ("00080061", "00201206")


def test_keys_of_lower_levels_are_not_supported() -> None:
    asked = query(PatientID="P1", Modality="CT", SOPInstanceUID="1.2")
    assert asked.unsupported == (tag_of("SOPInstanceUID"), tag_of("Modality"))
    assert set(asked.keys) == {tag_of("PatientID")}
    assert asked.told({}) == {tag_of("PatientID"): {"vr": "LO"}}


@pytest.mark.parametrize("study", ["", "1.2\\1.3", "1.*"])
def test_one_value_of_every_unique_key_above(study: str) -> None:
    keys = attributes(StudyInstanceUID=study, SeriesInstanceUID="")
    with pytest.raises(QuestionError) as caught:
        read_query(keys, Level.SERIES, Root.STUDY, PLAIN)
    assert caught.value.reason == "no-unique-key"
    assert read_query(keys, Level.SERIES, Root.STUDY, Rules(relational=True)).level is Level.SERIES
