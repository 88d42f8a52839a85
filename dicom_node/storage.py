"""Database, spool and store of one process, brought up together.

Apart from node.py so that `serve` can begin to start PostgreSQL while the rest of the program is imported.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import structlog

from dicom_node.config import Settings
from dicom_node.errors import DatabaseUnavailableError
from dicom_node.intake import Intake
from dicom_node.spool import Spool, storage_errors
from dicom_node.store.database import Pool, open_pool
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.find_index import FindIndex
from dicom_node.store.search_sample import AskedIndex
from dicom_node.store.studies import StudyStore
from dicom_node.store.watch import DatabaseWatch

log = structlog.get_logger(__name__)

DATABASE_FOLDER = "postgres"
"""Of the embedded PostgreSQL, in `data_dir`."""


class Storage:
    """Database, spool and store: what every process of the node holds."""

    def __init__(self, settings: Settings) -> None:
        self._embedded = (
            EmbeddedPostgres(settings.data_dir / DATABASE_FOLDER) if settings.database.url is None else None
        )
        self._url = None if settings.database.url is None else settings.database.url.get_secret_value()
        self._pool: Pool | None = None
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="database")
        self._starting: Future[str] | None = None
        self.spool = Spool(settings.data_dir / "spool", min_free_bytes=settings.spool.min_free_bytes)
        self.url = ""
        self._store: StudyStore | None = None
        self._watch: DatabaseWatch | None = None

    @property
    def store(self) -> StudyStore:
        """Raises DatabaseUnavailableError until the database is up."""
        if self._store is None:
            raise DatabaseUnavailableError("the database is still starting; try again in a few seconds")
        return self._store

    @property
    def index(self) -> AskedIndex:
        """Raises DatabaseUnavailableError until the database is up."""
        if self._pool is None or self._store is None:
            raise DatabaseUnavailableError("the database is still starting; try again in a few seconds")
        return AskedIndex(self._pool)

    @property
    def headers(self) -> FindIndex:
        """What the objects' headers tell. Raises DatabaseUnavailableError until the database is up."""
        if self._pool is None or self._store is None:
            raise DatabaseUnavailableError("the database is still starting; try again in a few seconds")
        return FindIndex(self._pool, self.spool.root)

    @property
    def alone(self) -> bool:
        """Whether no other process worked on this database when this one came: known of the embedded one."""
        return self._embedded is not None and self._embedded.was_alone

    @property
    def trouble(self) -> str:
        """Why the database cannot be used, as far as is known; empty where it can. Never blocks."""
        return "the database is starting" if self._watch is None else self._watch.trouble

    def prepare(self) -> None:
        """Begin to start the embedded PostgreSQL in the background; `open` waits for it. Idempotent."""
        if self._embedded is not None and self._starting is None:
            self._starting = self._starter.submit(self._embedded.start)

    def open(self) -> None:
        """Start or reach PostgreSQL, migrate, open the spool and take up what a killed process left."""
        self.prepare()
        with storage_errors(f"cannot use the spool {self.spool.root}"):
            self.spool.root.mkdir(parents=True, exist_ok=True)
        self.url = str(self._url) if self._starting is None else self._starting.result()
        if self._embedded is not None:
            log.info("database_runs", folder=str(self._embedded.folder))
        self._pool = open_pool(self.url)
        self.spool.open()
        store = StudyStore(self._pool, self.spool.root)
        intake = Intake(self.spool, store)
        leftovers = self.spool.sweep(intake.adopt)
        orphans = store.recover(alone=self.alone)
        if leftovers or orphans:
            log.info("recovered", leftovers=leftovers, studies=len(orphans))
        self._store = store
        self._watch = DatabaseWatch(self.url, None if self._embedded is None else self._embedded.revive)
        self._watch.start()

    def close(self) -> None:
        """Let go of the database; the embedded one stops when nobody else uses it. Idempotent.

        Every step is taken, even where one before it raises.
        """
        with ExitStack() as steps:  # which takes them in reverse order
            if self._embedded is not None:
                steps.callback(self._embedded.stop)
            if self._pool is not None:
                steps.callback(self._pool.close)
            if self._watch is not None:
                steps.callback(self._watch.stop)
            steps.callback(self._starter.shutdown)
