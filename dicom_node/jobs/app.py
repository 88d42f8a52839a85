"""Workers: procrastinate on the node's own PostgreSQL.

    app = make_app(url, work, outcomes)
    worker = WorkerThread(app); worker.start(); ...; worker.stop()

A worker says every second that it lives. The jobs of one that has been silent for a while are put back on
the queue by any other worker; those of a node that was killed, at once when it starts again (see
`StudyStore.recover`).

There are three lanes, for studies, deliveries and fetches, each with slots of its own: an archive that is
down for days holds up neither studies nor what goes to other archives. In the lane of studies, those that are
embedded again stand behind those that have just come.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException

from dicom_node.errors import describe, where
from dicom_node.jobs.tasks import Outcomes, Work, register_tasks
from dicom_node.store.queue import DELIVERIES, FETCHES, STUDIES

HEARTBEAT_SECONDS = 1.0
STALLED_SECONDS = 10.0
"""Silence after which a worker counts as dead. Well above a pause of its event loop under load; a job that is
taken back wrongly is done twice, which changes nothing."""
SWEEP_SECONDS = 2.0
POLL_SECONDS = 2.0
"""New jobs are announced by NOTIFY; polling finds those whose time has come, and whatever was missed."""
CONNECT_SECONDS = 5.0
"""For a connection. A worker that is stopped while the database is gone waits for two of them in turn."""
GRACE_SECONDS = 20.0
"""For the jobs in hand when a worker is stopped; a job that takes longer is done again by the next one."""

DELIVERY_SLOTS = 2
"""One may be waiting for an archive that does not answer."""
FETCH_SLOTS = 1
LANES = 3
POOL_SIZE = LANES + 5
"""Connections of a worker: each lane listens on one of its own."""

STALLED_JOBS = """
-- Jobs whose worker is silent, or gone.
SELECT job.id AS id FROM procrastinate_jobs job
LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
WHERE job.status = 'doing'
  AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(silent)s))
ORDER BY job.id
"""

TAKE_BACK = """
-- One of them is put back on its queue, unless another sweeper was faster.
SELECT procrastinate_retry_job_v2(id, now(), NULL, NULL, NULL)
FROM (
    SELECT job.id FROM procrastinate_jobs job
    LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
    WHERE job.id = %(job)s AND job.status = 'doing'
      AND (worker.id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(silent)s))
    FOR UPDATE OF job SKIP LOCKED
) AS stalled
"""


def make_app(url: str, work: Work, outcomes: Outcomes) -> App:
    """A procrastinate App on the database at `url` that knows the node's kinds of job.

    Nothing is connected before a worker runs.
    """
    connector = PsycopgConnector(
        conninfo=url,
        min_size=1,
        max_size=POOL_SIZE,
        timeout=CONNECT_SECONDS,
        kwargs={"application_name": "dicom-node worker"},
    )
    app = App(connector=connector)
    register_tasks(app, work, outcomes)
    return app


class WorkerThread:
    """A worker in a thread of its own. It comes back by itself when the database does."""

    def __init__(self, app: App, concurrency: int = 1) -> None:
        """`concurrency`: how many studies are processed at a time."""
        self._app = app
        self._lanes = {STUDIES: concurrency, DELIVERIES: DELIVERY_SLOTS, FETCHES: FETCH_SLOTS}
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()

    def start(self) -> None:
        """Begin to work; returns once the worker can be stopped."""
        self._thread.start()
        self._ready.wait()

    @property
    def alive(self) -> bool:
        """Whether its thread runs; it waits in there where the database is gone."""
        return self._thread.is_alive()

    def stop(self, timeout: float | None = None) -> bool:
        """Take no new job, finish those in hand; False when that took longer than `timeout` seconds."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # the loop has ended by itself meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        # As many threads as jobs can run: no lane waits for a thread that another one holds.
        self._loop.set_default_executor(ThreadPoolExecutor(sum(self._lanes.values()), "job"))
        self._stopping = asyncio.Event()
        self._ready.set()
        log = structlog.get_logger().bind(room="jobs")
        while not self._stopping.is_set():
            try:
                await self._until_stopped(self._stopping)
            except Exception as error:  # noqa: BLE001 - the rim of the worker: it must come back
                log.warning("worker.interrupted", error=describe(error), where=where(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 1.0)

    async def _until_stopped(self, stopping: asyncio.Event) -> None:
        try:
            # Opening has a time-out of its own, of 30 s, which nobody can set.
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._app.open_async()
            await self._work_until(stopping)
        finally:
            await self._app.close_async()

    async def _work_until(self, stopping: asyncio.Event) -> None:
        lanes = [asyncio.create_task(_work(self._app, queue, slots)) for queue, slots in self._lanes.items()]
        sweeper = asyncio.create_task(_sweep(self._app))
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({*lanes, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First, since a lane that is being stopped is silent: what it has in hand is not abandoned.
            await _cancel(sweeper)
            await _cancel(told)
            for lane in lanes:
                lane.cancel()  # procrastinate takes that as: finish the jobs in hand, then end
            ends = await asyncio.gather(*lanes, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end


async def _work(app: App, queue: str, concurrency: int) -> None:
    await app.run_worker_async(
        queues=[queue],
        name=queue,
        concurrency=concurrency,
        fetch_job_polling_interval=POLL_SECONDS,
        listen_notify=True,
        delete_jobs="successful",
        install_signal_handlers=False,
        shutdown_graceful_timeout=GRACE_SECONDS,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
        stalled_worker_timeout=STALLED_SECONDS,
    )


async def _sweep(app: App) -> None:
    """Put back what dead workers left, every few seconds."""
    log = structlog.get_logger().bind(room="jobs")
    while True:
        try:
            stalled = await app.connector.execute_query_all_async(STALLED_JOBS, silent=STALLED_SECONDS)
            taken = [row["id"] for row in stalled if await _take_back(app, row["id"])]
            if taken:
                log.warning("jobs.taken_back", count=len(taken))
        except ConnectorException as error:
            log.warning("jobs.sweep", error=type(error).__name__)
        await asyncio.sleep(SWEEP_SECONDS)


async def _take_back(app: App, job: int) -> bool:
    """One by one: a job that cannot be put back does not keep the others."""
    try:
        taken = await app.connector.execute_query_all_async(TAKE_BACK, job=job, silent=STALLED_SECONDS)
    except ConnectorException as error:
        log = structlog.get_logger().bind(room="jobs")
        log.warning("jobs.not_taken_back", job_id=job, error=type(error).__name__)
        return False
    return bool(taken)


async def _cancel(task: asyncio.Task[object]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
