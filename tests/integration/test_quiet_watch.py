"""The watch over the real store: a study is not complete while one of its objects is on the wire."""

from __future__ import annotations

import threading
from pathlib import Path

from dicom_node.intake import Intake, QuietWatch
from dicom_node.spool import Spool
from dicom_node.store.states import StudyState
from dicom_node.store.studies import StudyStore
from tests.support.small_dicom import make_dataset, write_file
from tests.support.store_steps import STUDY
from tests.support.waiting import wait_until

QUIET = 0.4


def test_a_study_waits_for_an_object_that_takes_longer_than_the_quiet_time(
    store: StudyStore, spool: Spool, tmp_path: Path
) -> None:
    intake = Intake(spool, store)
    slow = write_file(tmp_path / "slow.dcm", make_dataset(1, 2, kilobytes=300)).read_bytes()
    watch = QuietWatch(store, QUIET, arriving=intake.arriving, poll_seconds=0.05)

    def state() -> StudyState | None:
        record = store.study(STUDY)
        return None if record is None else record.state

    with intake.draft() as draft:
        draft.write(slow[:4000])
        intake.accept_file(write_file(tmp_path / "first.dcm", make_dataset(1, 1)))
        watch.start()
        threading.Event().wait(4 * QUIET)
        assert state() is StudyState.RECEIVING
    wait_until(lambda: state() is StudyState.QUEUED, "closed study")
    watch.stop()
