"""The kinds of job, and what becomes of one that goes wrong.

    process_study(study_uid, revision)       instances -> findings -> report -> deliveries owed
    deliver_report(report_uid, destination)  one report to one archive
    fetch_study(archive, resource_id)        an announced study comes from its archive
    reembed_study(study_uid, bundle_digest)  instances -> index, after a change of bundle; behind all others

A job may run twice (a worker was killed): everything it does must bear that.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Protocol, TypeVar

import structlog
from procrastinate import App, JobContext, RetryDecision
from procrastinate.jobs import Job as QueuedJob
from procrastinate.retry import BaseRetryStrategy

from dicom_node.errors import ArchiveUnavailableError, describe, where
from dicom_node.jobs.gate import Gate
from dicom_node.jobs.retry import (
    HASTY_PAUSE,
    Again,
    GiveUp,
    Kind,
    decide,
    kind_of,
    kind_of_fetch_error,
)
from dicom_node.store.queue import (
    DELIVER_REPORT,
    DELIVERIES,
    FETCH_STUDY,
    FETCHES,
    PROCESS_STUDY,
    REEMBED_STUDY,
    STUDIES,
)
from dicom_node.store.states import DeliveredAs

MAX_STARTS = 8
"""A job that has been begun so often in a row without an end takes its worker down with it."""
NEVER_ENDS = f"its job was begun {MAX_STARTS} times and never came to an end"

T = TypeVar("T")


class Work(Protocol):
    """What is done in a job. Each method may raise any error of `dicom_node/errors.py`."""

    def process_study(self, study_uid: str, revision: int) -> None:
        """Assess a study and keep the result; returns quietly when there is nothing to do any more."""

    def deliver_report(self, report_uid: str, destination: str) -> DeliveredAs | None:
        """Send a report to an archive; None when it is not owed any more. Recording the outcome is the
        caller's part."""

    def fetch_study(self, archive: str, resource_id: str) -> None:
        """Fetch an announced study through the intake. Recording the outcome is the caller's part."""

    def reembed_study(self, study_uid: str, bundle_digest: str) -> None:
        """Bring what this bundle says of a study into the index; returns quietly when it is there."""


class Outcomes(Protocol):
    """Where the end of a job is recorded: `store.studies.StudyStore`."""

    def count_failure(self, job_id: int, attempts: int, *, patient: bool) -> int:
        """A job went wrong; how many failures of this kind it has had."""

    def crashes(self, job_id: int, attempts: int) -> int:
        """How often in a row a job was begun and put back without a word."""

    def fail(self, study_uid: str, revision: int, reason: str) -> bool:
        """The study cannot be processed."""

    def reembedding_failed(self, study_uid: str, bundle_digest: str, reason: str) -> None:
        """The bundle cannot embed the study."""

    def delivery_succeeded(
        self, report_uid: str, destination: str, delivered: DeliveredAs | None = None
    ) -> None:
        """The archive has the report."""

    def delivery_failed(
        self, report_uid: str, destination: str, error: str, *, gave_up: bool = False
    ) -> None:
        """The archive does not have it (yet, or for good)."""

    def hasten_deliveries(self, destination: str) -> None:
        """An archive answers again: try what waits for it now."""

    def fetch_begun(self, archive: str, resource_id: str) -> None:
        """A study is being fetched."""

    def fetch_succeeded(self, archive: str, resource_id: str) -> None:
        """It came in."""

    def fetch_failed(self, archive: str, resource_id: str, error: str, *, gave_up: bool) -> None:
        """It did not (yet, or for good)."""


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
        self._gate = Gate()
        self._unrecorded: Counter[int] = Counter()
        """By job: ends that this process saw and could not record. They are no crashes."""
        self._log = structlog.get_logger().bind(room="jobs")

    def process_study(self, context: JobContext, *, study_uid: str, revision: int) -> None:
        """A study that cannot be processed ends in the failed state, with its reason."""
        if self._kills_workers(context.job):
            self._outcomes.fail(study_uid, revision, NEVER_ENDS)
            return
        _, error = _attempt(lambda: self._work.process_study(study_uid, revision))
        if error is not None:
            verdict = self._judge(context.job, error, kind_of(error), study=study_uid)
            if isinstance(verdict, GiveUp):
                self._outcomes.fail(study_uid, revision, verdict.reason)
            raise _Stopped(verdict)

    def reembed_study(self, context: JobContext, *, study_uid: str, bundle_digest: str) -> None:
        """A study that cannot be embedded again stays answered for by the bundle that did it before."""
        if self._kills_workers(context.job):
            self._outcomes.reembedding_failed(study_uid, bundle_digest, NEVER_ENDS)
            return
        _, error = _attempt(lambda: self._work.reembed_study(study_uid, bundle_digest))
        if error is not None:
            verdict = self._judge(context.job, error, kind_of(error), study=study_uid)
            if isinstance(verdict, GiveUp):
                self._outcomes.reembedding_failed(study_uid, bundle_digest, verdict.reason)
            raise _Stopped(verdict)

    def deliver_report(self, context: JobContext, *, report_uid: str, destination: str) -> None:
        """Every try is recorded with its error; the last one as given up."""
        self._stay_away(destination)
        sent, error = _attempt(lambda: self._work.deliver_report(report_uid, destination))
        if self._tell_gate(destination, error):
            self._outcomes.hasten_deliveries(destination)
        if error is not None:
            names = {"report": report_uid, "archive": destination}
            verdict = self._judge(context.job, error, kind_of(error), **names)
            gave_up = isinstance(verdict, GiveUp)
            self._outcomes.delivery_failed(report_uid, destination, describe(error), gave_up=gave_up)
            raise _Stopped(verdict)
        if sent is not None:
            self._outcomes.delivery_succeeded(report_uid, destination, sent)

    def fetch_study(self, context: JobContext, *, archive: str, resource_id: str) -> None:
        """Every try is recorded with its error; the last one as given up."""
        if self._kills_workers(context.job):
            self._outcomes.fetch_failed(archive, resource_id, NEVER_ENDS, gave_up=True)
            return
        self._stay_away(archive)
        self._outcomes.fetch_begun(archive, resource_id)
        _, error = _attempt(lambda: self._work.fetch_study(archive, resource_id))
        self._tell_gate(archive, error)
        if error is not None:
            verdict = self._judge(context.job, error, kind_of_fetch_error(error), archive=archive)
            gave_up = isinstance(verdict, GiveUp)
            told = verdict.reason if isinstance(verdict, GiveUp) else describe(error)
            self._outcomes.fetch_failed(archive, resource_id, told, gave_up=gave_up)
            raise _Stopped(verdict)
        self._outcomes.fetch_succeeded(archive, resource_id)

    def _kills_workers(self, job: QueuedJob) -> bool:
        """Whether the job took its worker down every time of late."""
        if job.attempts < MAX_STARTS:
            return False
        number = _number(job)
        return self._outcomes.crashes(number, job.attempts) - self._unrecorded[number] >= MAX_STARTS

    def _stay_away(self, archive: str) -> None:
        """An archive that has just not answered is left alone for a while, which counts as no try."""
        seconds = self._gate.wait_for(archive)
        if seconds > 0:
            raise _Stopped(Again(seconds))

    def _tell_gate(self, archive: str, error: Exception | None) -> bool:
        """Whether the archive answers again after it had not."""
        if isinstance(error, ArchiveUnavailableError):
            self._gate.failed(archive)
            return False
        return self._gate.answered(archive)

    def _judge(self, job: QueuedJob, error: Exception, kind: Kind, **names: str) -> Again | GiveUp:
        number = _number(job)
        told = {"job": job.task_name, "error": describe(error), "where": where(error), **names}
        try:
            tries = self._outcomes.count_failure(number, job.attempts, patient=kind is Kind.PATIENT)
        except Exception:
            self._unrecorded[number] += 1
            self._log.warning("job.not_recorded", **told)
            raise
        self._unrecorded.pop(number, None)
        verdict = decide(error, kind, tries, random.random())  # noqa: S311 - spreads load, hides nothing
        event = "job.given_up" if isinstance(verdict, GiveUp) else "job.again"
        self._log.warning(event, tries=tries, **told)
        return verdict


def _number(job: QueuedJob) -> int:
    if job.id is None:
        raise ValueError("a job that runs was on the queue, and has a number")
    return job.id


def _attempt(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Do it; what went wrong is returned, so that nothing that is raised later drags it into a log."""
    try:
        return work(), None
    except Exception as error:  # noqa: BLE001 - the rim of a job
        return None, error


def register_tasks(app: App, work: Work, outcomes: Outcomes) -> None:
    """Tell `app` how each kind of job is done."""
    rim = _Rim(work, outcomes)
    policy = _Policy()
    app.task(name=PROCESS_STUDY, queue=STUDIES, pass_context=True, retry=policy)(rim.process_study)
    app.task(name=REEMBED_STUDY, queue=STUDIES, pass_context=True, retry=policy)(rim.reembed_study)
    app.task(name=DELIVER_REPORT, queue=DELIVERIES, pass_context=True, retry=policy)(rim.deliver_report)
    app.task(name=FETCH_STUDY, queue=FETCHES, pass_context=True, retry=policy)(rim.fetch_study)
