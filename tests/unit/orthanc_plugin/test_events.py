from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orthanc_plugin.events import (
    Backlog,
    Backoff,
    Change,
    ChangePage,
    Progress,
    fingerprint,
    is_own,
    parse_changes,
    parse_progress,
    parse_study,
)

WINDOW = 10.0


def test_a_page_of_the_change_log_is_read() -> None:
    document = {
        "Changes": [
            {
                "ChangeType": "NewInstance",
                "Date": "20260101T000000",
                "ID": "i",
                "Path": "/instances/i",
                "Seq": 4,
            },
            {
                "ChangeType": "StableStudy",
                "Date": "20260101T000001",
                "ID": "s",
                "Path": "/studies/s",
                "Seq": 6,
            },
        ],
        "Done": True,
        "Last": 6,
    }
    assert parse_changes(document) == ChangePage(
        (Change(4, "NewInstance", "i"), Change(6, "StableStudy", "s")), 6, True
    )


def test_a_study_is_what_others_put_into_it() -> None:
    study = {"MainDicomTags": {"StudyInstanceUID": "1.2"}}
    series = [
        {"MainDicomTags": {"Manufacturer": "Somebody", "Modality": "CT"}, "Instances": ["b", "a"]},
        {"MainDicomTags": {"Manufacturer": "M3Bind PACS", "Modality": "SR"}, "Instances": ["own"]},
        {"MainDicomTags": {"Modality": "SR"}, "Instances": ["c"]},
    ]
    content = parse_study(study, series)
    assert (content.study_uid, content.instances) == ("1.2", ("a", "b", "c"))


@pytest.mark.parametrize(
    ("manufacturer", "own"),
    [("M3Bind PACS", True), ("M3Bind PACS ", True), ("M3Bind", False), ("m3bind pacs", False), ("", False)],
)
def test_own_objects_are_known_by_their_manufacturer(manufacturer: str, own: bool) -> None:
    assert is_own({"Manufacturer": manufacturer}) is own


@given(st.sets(st.text("0123456789abcdef-", min_size=1), min_size=1), st.data())
def test_a_fingerprint_tells_sets_apart_and_orders_alike(ids: set[str], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(sorted(ids)))
    dropped = data.draw(st.sampled_from(sorted(ids)))
    assert fingerprint(shuffled) == fingerprint(sorted(ids))
    assert fingerprint(sorted(ids - {dropped})) != fingerprint(shuffled)


def test_a_study_waits_once_and_the_oldest_comes_first() -> None:
    backlog = Backlog(0, WINDOW)
    for study, seq in [("a", 3), ("b", 4), ("a", 9)]:
        backlog.add(study, seq)
    assert (len(backlog), backlog.first()) == (2, "a")
    backlog.remove("a")
    assert backlog.first() == "b"
    backlog.remove("b")
    assert backlog.first() is None


def test_the_log_is_settled_only_where_nothing_waits_and_the_window_has_passed() -> None:
    backlog = Backlog(0, WINDOW)
    backlog.add("a", 5)
    backlog.read_up_to(8, now=100.0)
    assert backlog.settled(now=100.0) == 0
    assert backlog.settled(now=200.0) == 4
    backlog.remove("a")
    assert backlog.settled(now=200.0) == 8


def test_what_was_read_within_the_window_is_not_settled() -> None:
    backlog = Backlog(0, WINDOW)
    backlog.read_up_to(8, now=100.0)
    backlog.read_up_to(9, now=105.0)
    assert backlog.settled(now=109.9) == 0
    assert backlog.settled(now=110.0) == 8
    assert backlog.settled(now=115.0) == 9


def test_reading_nothing_new_does_not_hold_back_what_was_read() -> None:
    backlog = Backlog(0, WINDOW)
    backlog.read_up_to(8, now=100.0)
    backlog.read_up_to(8, now=109.0)
    assert backlog.settled(now=110.0) == 8


def test_progress_survives_as_text() -> None:
    progress = Progress(17, ("a", "b"))
    assert parse_progress(progress.to_text()) == progress


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 2}', '{"version": 1, "settled": null}'])
def test_anything_else_is_no_progress(text: str) -> None:
    assert parse_progress(text) is None


def test_pauses_grow_to_the_longest_and_begin_anew() -> None:
    backoff = Backoff(5.0)
    assert [backoff.failed() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.succeeded()
    assert backoff.failed() == 1.0
    assert Backoff(0.5).failed() == 0.5
