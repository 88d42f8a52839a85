"""The three kinds of job, and what becomes of one that goes wrong.

    process_study(study_uid, revision)       instances -> findings -> report -> deliveries owed
    deliver_report(report_uid, destination)  one report to one archive
    fetch_study(archive, resource_id)        an announced study comes from its archive

A job may run twice (a worker was killed): everything it does must bear that.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

import structlog
from procrastinate import App, JobContext, RetryDecision
from procrastinate.jobs import Job as QueuedJob
from procrastinate.retry import BaseRetryStrategy

from dicom_node.errors import describe, where
from dicom_node.jobs.retry import HASTY_PAUSE, Again, GiveUp, decide
from dicom_node.store.queue import DELIVER_REPORT, FETCH_STUDY, PROCESS_STUDY, QUEUE

MAX_STARTS = 8
"""A job that has been begun so often without an end takes its worker down with it."""


class Work(Protocol):
    """What is done in a job. Each method may raise any error of `dicom_node/errors.py`."""

    def process_study(self, study_uid: str, revision: int) -> None:
        """Assess a study and keep the result; returns quietly when there is nothing to do any more."""

    def deliver_report(self, report_uid: str, destination: str) -> None:
        """Send a report to an archive. Recording the outcome is the caller's part."""

    def fetch_study(self, archive: str, resource_id: str) -> None:
        """Fetch an announced study through the intake."""


class Outcomes(Protocol):
    """Where the end of a job is recorded."""

    def fail(self, study_uid: str, revision: int, reason: str) -> bool:
        """The study cannot be processed."""

    def delivery_succeeded(self, report_uid: str, destination: str) -> None:
        """The archive has the report."""

    def delivery_failed(
        self, report_uid: str, destination: str, error: str, *, gave_up: bool = False
    ) -> None:
        """The archive does not have it (yet, or for good)."""

    def fetch_failed(self, archive: str, resource_id: str, reason: str) -> None:
        """An announced study cannot be fetched."""


class _Stopped(Exception):  # noqa: N818 - it is no error of its own
    """Carries the decision on a failed job past procrastinate, whose log must not quote the data."""

    def __init__(self, verdict: Again | GiveUp) -> None:
        super().__init__("the node's own log tells why")
        self.verdict = verdict


class _Policy(BaseRetryStrategy):
    """The rim has decided; procrastinate only asks when."""

    def get_retry_decision(self, *, exception: BaseException, job: QueuedJob) -> RetryDecision | None:  # noqa: ARG002
        """None: the job is over. What the rim could not even record (no database) is tried again."""
        verdict = exception.verdict if isinstance(exception, _Stopped) else Again(HASTY_PAUSE)
        if isinstance(verdict, GiveUp):
            return None
        return RetryDecision(retry_in={"milliseconds": int(verdict.seconds * 1000)})


class _Rim:
    """The functions that procrastinate calls."""

    def __init__(self, work: Work, outcomes: Outcomes) -> None:
        self._work = work
        self._outcomes = outcomes
        self._log = structlog.get_logger().bind(room="jobs")

    def process_study(self, context: JobContext, *, study_uid: str, revision: int) -> None:
        """A study that cannot be processed ends in the failed state, with its reason."""
        tries = context.job.attempts + 1
        if tries > MAX_STARTS:
            reason = f"its job was begun {MAX_STARTS} times and never came to an end"
            self._outcomes.fail(study_uid, revision, reason)
            return
        error = _attempt(lambda: self._work.process_study(study_uid, revision))
        if error is not None:
            verdict = self._judge(error, tries, PROCESS_STUDY, study=study_uid)
            if isinstance(verdict, GiveUp):
                self._outcomes.fail(study_uid, revision, verdict.reason)
            raise _Stopped(verdict)

    def deliver_report(self, context: JobContext, *, report_uid: str, destination: str) -> None:
        """Every try is recorded with its error; the last one as given up."""
        tries = context.job.attempts + 1
        error = _attempt(lambda: self._work.deliver_report(report_uid, destination))
        if error is not None:
            verdict = self._judge(error, tries, DELIVER_REPORT, report=report_uid, archive=destination)
            gave_up = isinstance(verdict, GiveUp)
            self._outcomes.delivery_failed(report_uid, destination, describe(error), gave_up=gave_up)
            raise _Stopped(verdict)
        self._outcomes.delivery_succeeded(report_uid, destination)

    def fetch_study(self, context: JobContext, *, archive: str, resource_id: str) -> None:
        """A study that cannot be fetched leaves a line in the audit trail."""
        tries = context.job.attempts + 1
        error = _attempt(lambda: self._work.fetch_study(archive, resource_id))
        if error is not None:
            verdict = self._judge(error, tries, FETCH_STUDY, archive=archive)
            if isinstance(verdict, GiveUp):
                self._outcomes.fetch_failed(archive, resource_id, verdict.reason)
            raise _Stopped(verdict)

    def _judge(self, error: Exception, tries: int, job: str, **names: str) -> Again | GiveUp:
        verdict = decide(error, tries, random.random())  # noqa: S311 - spreads load, hides nothing
        event = "job.given_up" if isinstance(verdict, GiveUp) else "job.again"
        self._log.warning(event, job=job, tries=tries, error=describe(error), where=where(error), **names)
        return verdict


def _attempt(work: Callable[[], None]) -> Exception | None:
    """Do it; what went wrong is returned, so that nothing that is raised later drags it into a log."""
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the rim of a job
        return error
    return None


def register_tasks(app: App, work: Work, outcomes: Outcomes) -> None:
    """Tell `app` how the three kinds of job are done."""
    rim = _Rim(work, outcomes)
    policy = _Policy()
    app.task(name=PROCESS_STUDY, queue=QUEUE, pass_context=True, retry=policy)(rim.process_study)
    app.task(name=DELIVER_REPORT, queue=QUEUE, pass_context=True, retry=policy)(rim.deliver_report)
    app.task(name=FETCH_STUDY, queue=QUEUE, pass_context=True, retry=policy)(rim.fetch_study)
