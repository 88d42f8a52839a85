"""Whether and when a job is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node import errors
from dicom_node.archive.protocol import StudyGoneError
from dicom_node.jobs.retry import (
    HASTY_TRIES,
    JITTER,
    LONGEST_PAUSE,
    PATIENT_TRIES,
    Again,
    GiveUp,
    Kind,
    decide,
    kind_of,
    kind_of_fetch_error,
)

AWAY = errors.ArchiveUnavailableError("nobody answers")


@pytest.mark.parametrize(
    "error",
    [
        errors.UnreadableObjectError("no-pixels", "no pixels"),
        errors.OutOfScopeError("foot", "a foot"),
        errors.ArchiveRefusedError("no"),
        errors.BundleFormatError("no bundle"),
    ],
)
def test_what_would_be_answered_the_same_is_given_up_at_once(error: Exception) -> None:
    assert kind_of(error) is Kind.FINAL
    assert decide(error, Kind.FINAL, 1, 0.5) == GiveUp(str(error))


@pytest.mark.parametrize("error", [RuntimeError("x"), errors.InferenceError("x"), errors.ReportError("x")])
def test_the_unexpected_is_tried_three_times(error: Exception) -> None:
    decisions = [decide(error, kind_of(error), tries, 0.0) for tries in range(1, HASTY_TRIES + 1)]
    assert [type(d) for d in decisions] == [Again, Again, GiveUp]


def test_a_peer_that_is_down_is_asked_for_days() -> None:
    pauses = []
    for tries in range(1, PATIENT_TRIES):
        decision = decide(AWAY, kind_of(AWAY), tries, 0.0)
        assert isinstance(decision, Again)
        pauses.append(decision.seconds)
    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses == sorted(pauses)
    assert 6 * 86400 < sum(pauses) < 9 * 86400
    assert decide(AWAY, kind_of(AWAY), PATIENT_TRIES, 0.0) == GiveUp(
        f"given up after {PATIENT_TRIES} tries: {AWAY}"
    )


@given(st.integers(1, PATIENT_TRIES - 1), st.floats(0, 1))
def test_jitter_only_lengthens_and_is_bounded(tries: int, chance: float) -> None:
    plain, spread = decide(AWAY, kind_of(AWAY), tries, 0.0), decide(AWAY, kind_of(AWAY), tries, chance)
    assert isinstance(plain, Again)
    assert isinstance(spread, Again)
    assert plain.seconds <= spread.seconds <= plain.seconds * (1 + JITTER) <= LONGEST_PAUSE * (1 + JITTER)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.ArchiveRefusedError("401; check the password"), Kind.PATIENT),
        (OSError(28, "No space left on device"), Kind.PATIENT),
        (errors.StorageFullError("full"), Kind.PATIENT),
        (AWAY, Kind.PATIENT),
        (StudyGoneError("no such study"), Kind.FINAL),
        (ValueError("x"), Kind.UNEXPECTED),
    ],
)
def test_a_fetch_is_patient_with_what_somebody_can_put_right(error: Exception, kind: Kind) -> None:
    assert kind_of_fetch_error(error) is kind


def test_the_text_of_an_unexpected_error_is_not_quoted() -> None:
    decision = decide(ValueError("Doe^John"), Kind.UNEXPECTED, HASTY_TRIES, 0.0)
    assert isinstance(decision, GiveUp)
    assert "Doe" not in decision.reason
    assert "ValueError" in decision.reason
