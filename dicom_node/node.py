"""The composition root: the only place where concrete parts meet.

    Node         DICOM SCP, web page, watch, and (unless configured otherwise) a worker: `dicom-node serve`
    WorkerNode   a worker alone, on the same database and spool: `dicom-node worker`

The web page answers first, so that /health can say what the node waits for; database and bundle come up side
by side; the DICOM port opens as soon as what it takes can be kept, whether or not the bundle is ready.
"""

from __future__ import annotations

import fcntl
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import structlog
from pydantic import SecretStr

from dicom_node.archive.dicomweb import StowArchive
from dicom_node.archive.dimse import CStoreArchive
from dicom_node.archive.orthanc import OrthancArchive
from dicom_node.archive.protocol import ReportArchive, StudySource
from dicom_node.config import (
    ArchiveSettings,
    CStoreSettings,
    OrthancSettings,
    Settings,
    StowSettings,
)
from dicom_node.dimse.find_scp import FindPorts
from dicom_node.dimse.server import DicomServer
from dicom_node.dimse.settings import retrieve_ae, scp_settings
from dicom_node.engine import Engine
from dicom_node.errors import ConfigError
from dicom_node.inference.remote import ModelServer
from dicom_node.intake import Intake, QuietWatch
from dicom_node.jobs.app import WorkerThread, make_app
from dicom_node.logs import configure_logging
from dicom_node.looking import look
from dicom_node.matching.register import Register
from dicom_node.pipeline import PACKAGE, Pipeline, this_device, warm_up
from dicom_node.pixels.contained import DecoderPool, cores
from dicom_node.pixels.thumbnail import jpeg
from dicom_node.report.context import DeviceObserver
from dicom_node.scratch import Scratch
from dicom_node.search.answer import Searcher
from dicom_node.search.ports import Speaker
from dicom_node.search.service import AskedArchive
from dicom_node.search.vocabulary import load_vocabulary
from dicom_node.storage import Storage
from dicom_node.store.studies import StudyStore
from dicom_node.web.app import create_app
from dicom_node.web.ports import BundleInfo, NodeInfo, WebPorts
from dicom_node.web.server import WebServer

log = structlog.get_logger(__name__)

STOP_SECONDS = 10.0
"""For the jobs in hand when the node is stopped; systemd kills after 90 s, Kubernetes after 30."""


class Runnable(Protocol):
    """What `serve` and `worker` run."""

    def start(self, stop: threading.Event) -> None:
        """Bring everything up, or come back half way where `stop` is set meanwhile."""

    def stop(self) -> bool:
        """Take everything down, in reverse order, each part even where one before it failed.

        Safe after a start that failed half way. False where a job was still running after STOP_SECONDS: its
        thread cannot be ended, so the process has to be; the job is done again by the next worker.
        """


class Workplace:
    """What a worker needs: the engine, the archives, and the pipeline over them."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._settings = settings
        self._storage = storage
        self.archives = {item.name: make_archive(item, settings) for item in settings.archives}
        self._worker: WorkerThread | None = None
        self._scratch = Scratch(storage.spool.root / "scratch")
        self.decoders = DecoderPool(cores())
        self.engine: Engine | None = None

    @property
    def trouble(self) -> str:
        """Why a worker that was started does not work; empty where it does. Never blocks."""
        lost = self._worker is not None and not self._worker.alive
        return "the worker has ended; start the node again" if lost else ""

    def load(self) -> None:
        """Load and prove the bundle. Raises BundleError where it cannot be used, InferenceError where the
        model server does not answer."""
        inference = self._settings.inference
        server = None if inference.url is None else ModelServer(inference.url, inference.timeout_seconds)
        self.engine = Engine.load(
            self._settings.bundle,
            providers=inference.providers,
            threads=inference.threads,
            tensorrt_engines=inference.tensorrt_engines,
            server=server,
            cache_dir=self._settings.data_dir / "cache",
            enable=self._settings.findings.enable,
            disable=self._settings.findings.disable,
        )

    def start(self) -> None:
        """Begin to work; storage must be open and the bundle loaded."""
        if self.engine is None:
            raise RuntimeError("load() comes before start()")
        store = self._storage.store
        pipeline = Pipeline(
            assessor=self.engine,
            ledger=store,
            shelf=self._storage.spool,
            door=Intake(self._storage.spool, store),
            archives=self.archives,
            deliver_to=self._settings.deliver_to,
            device=device_observer(self._settings),
            scratch=self._scratch.open(),
            decode=self.decoders,
        )
        self._worker = WorkerThread(
            make_app(self._storage.url, pipeline, store), self._settings.worker.concurrency
        )
        self._worker.start()
        if again := store.plan_reembedding(self.engine.identity):
            log.info("studies_are_embedded_again", at_least=again)

    def stop(self) -> bool:
        """Finish the jobs in hand and let go of the archives; False where a job took too long."""
        with ExitStack() as steps:
            steps.callback(self._scratch.close)
            steps.callback(self.decoders.close)
            for archive in self.archives.values():
                steps.callback(archive.close)
            finished = self._worker is None or self._worker.stop(STOP_SECONDS)
            if not finished:
                log.warning("worker_cut_off", seconds=STOP_SECONDS)
        return finished


class WorkerNode:
    """One more worker."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._workplace = Workplace(settings, self._storage)
        configure_logging(settings.log_level, settings.log_format)

    def start(self, stop: threading.Event) -> None:
        """Open the storage, load the bundle, work."""
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self._workplace.load)
            self._storage.open()
            loading.result()
        if not stop.is_set():
            self._workplace.start()
            log.info("worker_ready")

    def stop(self) -> bool:
        """Finish the jobs in hand; see Runnable."""
        with ExitStack() as steps:
            steps.callback(self._storage.close)
            return self._workplace.stop()


class Node:
    """The whole node in one process. Order of calls: `start`, `stop`."""

    def __init__(self, settings: Settings, storage: Storage) -> None:
        """Raises ConfigError where the web address is taken."""
        self._settings = settings
        self._storage = storage
        self._workplace = Workplace(settings, self._storage)
        self._waiting_for = "the node is starting"
        self._web = WebServer(
            create_app(self._ports(), settings.http.allowed_hosts), settings.http.host, settings.http.port
        )
        self._dicom: DicomServer | None = None
        self._watch: QuietWatch | None = None
        self._register: Register | None = None
        self._archive: AskedArchive | None = None
        self._held = ExitStack()
        configure_logging(settings.log_level, settings.log_format)

    @property
    def url(self) -> str:
        """Of the web page."""
        return self._web.url

    @property
    def dimse_port(self) -> int:
        """Of the DICOM SCP."""
        if self._dicom is None:
            raise RuntimeError("start() comes first")
        return self._dicom.port

    @property
    def store(self) -> StudyStore:
        """Raises DatabaseUnavailableError until the database is up."""
        return self._storage.store

    @property
    def bundle_name(self) -> str:
        """Name and version, for people."""
        engine = self._workplace.engine
        return "(loading)" if engine is None else f"{engine.identity.name} {engine.identity.version}"

    def start(self, stop: threading.Event) -> None:
        """Bring everything up; returns when studies are taken and worked on, or early once `stop` is set.

        Raises ConfigError, BundleError or StorageError: the node cannot run as configured.
        """
        self._web.start()
        log.info("web_listens", url=self._web.url)
        self._waiting_for = "the database is starting, the bundle is loading"
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(self._workplace.load)
            self._storage.open()
            if not stop.is_set():
                self._open_door()
            self._waiting_for = "the bundle is loading"
            loading.result()
        if stop.is_set():
            return
        if self._settings.worker.in_process:
            self._workplace.start()
        self._waiting_for = ""
        threading.Thread(target=warm_up, name="warm-up", daemon=True).start()
        log.info("node_ready", dicom_port=self.dimse_port, url=self.url)

    def stop(self) -> bool:
        """Close the door first, then finish the jobs in hand, then the rest; see Runnable."""
        self._waiting_for = "the node is stopping"
        finished: list[bool] = []
        with ExitStack() as steps:  # which takes them in reverse order
            steps.callback(self._held.close)
            steps.callback(self._storage.close)
            steps.callback(self._web.stop)
            steps.callback(lambda: finished.append(self._workplace.stop()))
            if self._watch is not None:
                steps.callback(self._watch.stop)
            if self._register is not None:
                steps.callback(self._register.stop)
            if self._dicom is not None:
                steps.callback(self._dicom.stop)
        return all(finished)

    def _open_door(self) -> None:
        settings = self._settings
        self._held.callback(os.close, hold(settings.data_dir))
        intake = Intake(self._storage.spool, self.store)
        self._watch = QuietWatch(self.store, settings.study.quiet_seconds, arriving=intake.arriving)
        self._watch.start()
        headers = self._storage.headers
        self._register = Register(headers)
        self._register.start()
        questions = FindPorts(headers, self._register.catch_up, self._search, lambda: self.bundle_name)
        self._dicom = DicomServer(intake, scp_settings(settings), questions)
        self._dicom.start()

    def _ports(self) -> WebPorts:
        return WebPorts(
            readiness=self._readiness,
            info=self._info,
            studies=lambda: self._storage.store,
            announce=self._announce,
            search=self._search,
            records=lambda: self._storage.headers,
            catch_up=lambda unless: self._register.catch_up(unless) if self._register else None,
            retrieve_ae=partial(retrieve_ae, scp_settings(self._settings).find),
            picture=partial(jpeg, decode=self._workplace.decoders),
            look=lambda part10: look(self._workplace.engine, part10, self._workplace.decoders),
        )

    def _readiness(self) -> tuple[bool, str]:
        if self._waiting_for:
            return False, self._waiting_for
        watch_lost = self._watch is not None and not self._watch.alive
        unread = self._register is not None and not self._register.alive
        trouble = (
            self._storage.trouble
            or ("studies are no longer watched; start the node again" if watch_lost else "")
            or ("headers are no longer read; start the node again" if unread else "")
            or self._workplace.trouble
        )
        return not trouble, trouble or "ready"

    def _announce(self, archive: str, resource: str, study_uid: str, instances: int | None) -> None:
        self._storage.store.announce(archive, resource, study_uid=study_uid, instances=instances)

    def _search(self) -> AskedArchive | None:
        engine = self._workplace.engine
        if self._archive is None and engine is not None:
            index = self._storage.index
            self._archive = AskedArchive(Searcher(index, speaker_of(engine), load_vocabulary()), index)
        return self._archive

    def _info(self) -> NodeInfo:
        engine = self._workplace.engine
        sources = tuple(name for name, a in self._workplace.archives.items() if isinstance(a, StudySource))
        if engine is None:
            return NodeInfo(version(PACKAGE), None, (), sources)
        identity = engine.identity
        bundle = BundleInfo(identity.name, identity.version, identity.digest)
        return NodeInfo(version(PACKAGE), bundle, tuple(engine.providers), sources, tuple(engine.encoders))


def hold(data_dir: Path) -> int:
    """The handle of a folder that one `serve` holds until it is closed; it ends with the process, however.

    Raises ConfigError where another one holds it. Where folders cannot be locked (NFS) nobody is refused.
    """
    handle = os.open(data_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ConfigError(
            f"data_dir: another `dicom-node serve` runs on {data_dir}; end it, or start a `dicom-node worker`"
        ) from error
    except OSError as error:
        log.info("folder_not_locked", reason=error.strerror)
    return handle


def speaker_of(engine: Engine) -> Speaker:
    """The loaded bundle, as a question meets it."""
    return Speaker(
        identity=engine.identity,
        modalities=tuple(engine.encoders),
        entries=engine.bundle.findings,
        scored=frozenset(entry.id for entry in engine.findings),
        embed=engine.embed_texts,
    )


def make_archive(archive: ArchiveSettings, settings: Settings) -> ReportArchive:
    """The client that speaks the configured protocol. Connects to nothing yet."""

    def reveal(secret: SecretStr | None) -> str | None:
        return None if secret is None else secret.get_secret_value()

    match archive:
        case OrthancSettings():
            return OrthancArchive(
                archive.name,
                archive.url,
                username=archive.username,
                password=reveal(archive.password),
                timeout=archive.timeout_seconds,
            )
        case StowSettings():
            return StowArchive(
                archive.name,
                archive.url,
                username=archive.username,
                password=reveal(archive.password),
                token=reveal(archive.token),
                timeout=archive.timeout_seconds,
            )
        case CStoreSettings():
            return CStoreArchive(
                archive.name,
                archive.host,
                archive.port,
                ae_title=archive.ae_title,
                calling_ae_title=settings.dimse.ae_title,
                timeout=archive.timeout_seconds,
            )


def device_observer(settings: Settings) -> DeviceObserver:
    """This installation, as the reports name it (TID 1004); made once and kept in `data_dir`.

    One process at a time writes the file, and an empty one, as a kill or a power cut leaves it, is filled.
    """
    path = settings.data_dir / "installation"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        installation = file.read().strip()
        if not installation:
            installation = str(uuid.uuid4())
            file.write(installation)
            file.flush()
            os.fsync(file.fileno())
    return this_device(installation, settings.dimse.ae_title)
