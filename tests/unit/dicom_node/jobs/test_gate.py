"""An archive that is down is probed, not stormed."""

from __future__ import annotations

from dicom_node.jobs.gate import FIRST_REST_SECONDS, REST_SECONDS, Gate


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_archive_that_answers_is_never_waited_for() -> None:
    gate = Gate()
    assert gate.wait_for("pacs") == 0
    assert not gate.answered("pacs")
    assert gate.wait_for("pacs") == 0


def test_after_a_failure_one_probe_goes_and_the_others_wait() -> None:
    clock = Clock()
    gate = Gate(clock)
    gate.failed("pacs")
    assert gate.wait_for("pacs") == FIRST_REST_SECONDS
    assert gate.wait_for("orthanc") == 0
    clock.now += FIRST_REST_SECONDS
    assert gate.wait_for("pacs") == 0  # the probe
    clock.now += FIRST_REST_SECONDS
    assert gate.wait_for("pacs") > 0  # it has not told yet


def test_an_archive_that_stays_down_is_probed_once_a_minute() -> None:
    clock = Clock()
    gate = Gate(clock)
    rests = []
    for _ in range(8):
        gate.failed("pacs")
        rests.append(gate.wait_for("pacs"))
        clock.now += rests[-1]
        assert gate.wait_for("pacs") == 0
    assert rests == [2, 4, 8, 16, 32, REST_SECONDS, REST_SECONDS, REST_SECONDS]


def test_an_answer_opens_the_gate_for_all() -> None:
    gate = Gate(Clock())
    gate.failed("pacs")
    assert gate.answered("pacs")
    assert gate.wait_for("pacs") == 0
