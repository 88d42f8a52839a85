"""The states of a study, without a database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dicom_node.store.states import TRANSITIONS, StudyState, instance_set_digest, sources_of
from tests.support.small_dicom import instance_of, make_dataset

INSTANCES = [instance_of(make_dataset(1, number), Path("/spool")) for number in range(1, 6)]


def test_every_state_has_its_transitions_and_can_be_reached() -> None:
    assert set(TRANSITIONS) == set(StudyState)
    reached = {target for targets in TRANSITIONS.values() for target in targets}
    assert reached == set(StudyState)


def test_a_new_instance_is_welcome_in_every_state() -> None:
    assert set(sources_of(StudyState.RECEIVING)) == {state.value for state in StudyState}


def test_only_a_worker_ends_a_study_with_a_report() -> None:
    assert sources_of(StudyState.REPORTED) == ["processing"]


@given(st.permutations(INSTANCES))
def test_the_digest_of_a_set_does_not_depend_on_order(shuffled: list) -> None:  # type: ignore[type-arg]
    assert instance_set_digest(shuffled) == instance_set_digest(INSTANCES)


def test_the_digest_of_a_set_depends_on_members_and_content() -> None:
    digests = {
        instance_set_digest(INSTANCES),
        instance_set_digest(INSTANCES[:-1]),
        instance_set_digest([*INSTANCES[:-1], replace(INSTANCES[-1], sha256="ff" * 32)]),
    }
    assert len(digests) == 3
