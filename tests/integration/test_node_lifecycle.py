"""The node as a process: it starts, loses its database, and stops, whatever the moment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread

from dicom_node.config import Settings, load_settings
from dicom_node.demo import send
from dicom_node.dimse.server import DicomServer
from dicom_node.errors import ConfigError
from dicom_node.intake import QuietWatch
from dicom_node.jobs.app import WorkerThread
from dicom_node.node import Node
from dicom_node.storage import Storage
from dicom_node.store.embedded import EmbeddedPostgres
from tests.support.bundles import TINY
from tests.support.many_studies import write_image_studies
from tests.support.node_process import NodeProcess
from tests.support.tree import ROOT
from tests.support.waiting import free_port, listens, wait_until

STOP_WITHIN = 18.0
"""Ten for the job in hand, and what PostgreSQL and the web server take on a busy machine."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to PostgreSQL's user, which pytest's own folder is not where root runs the tests."""
    with tempfile.TemporaryDirectory(prefix="m3life", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
        if (Path(name) / "node" / "data").exists():  # a test that failed may have left it running
            EmbeddedPostgres(Path(name) / "node" / "data" / "postgres").discard()


def postmaster(node: NodeProcess) -> int | None:
    try:
        return int((node.data_dir / "postgres" / "postmaster.pid").read_text(encoding="utf-8").split()[0])
    except (FileNotFoundError, IndexError):
        return None


def health(node: NodeProcess) -> tuple[int, str]:
    began = time.monotonic()
    answer = httpx.get(f"{node.url}/health", trust_env=False)
    assert time.monotonic() - began < 1.0, "/health must not wait for what is not there"
    return answer.status_code, str(answer.json()["reason"])


def send_one_study(node: NodeProcess, folder: Path) -> str:
    datasets = [dcmread(path) for path in write_image_studies(folder, 1, 1)]
    send(datasets, "127.0.0.1", node.dicom_port, node.ae_title)
    return str(datasets[0].StudyInstanceUID)


def test_a_database_that_is_killed_is_told_and_comes_back_by_itself(folder: Path) -> None:
    with NodeProcess(folder / "node", bundle=TINY, settings={"study": {"quiet_seconds": 0.5}}) as node:
        node.start()
        killed = postmaster(node)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: health(node)[0] == 503, "word of the loss")
        assert health(node)[1].startswith("the database")
        wait_until(lambda: health(node)[0] == 200, "recovery")
        assert postmaster(node) not in (None, killed)
        uid = send_one_study(node, folder / "sent")
        wait_until(lambda: (node.study(uid) or {}).get("state") == "reported", "report", 40)
        assert node.stop() == 0
        assert postmaster(node) is None


def test_a_signal_while_it_still_starts_leaves_nothing_running(folder: Path) -> None:
    node = NodeProcess(folder / "node", bundle=TINY)
    with subprocess.Popen(
        [sys.executable, "-m", "dicom_node.cli", "serve", "--config", str(folder / "node" / "node.toml")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as process:
        wait_until(lambda: (node.data_dir / "postgres.lease").exists(), "first sign of the database")
        process.terminate()
        assert process.wait(timeout=STOP_WITHIN) == 0, process.stderr and process.stderr.read()
    assert postmaster(node) is None


@contextmanager
def busy_node(folder: Path) -> Iterator[NodeProcess]:
    """A node whose worker is held for a minute: its peer takes the call and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(40)
        archive = {"kind": "cstore", "name": "silent", "host": "127.0.0.1", "ae_title": "SILENT"}
        archive |= {"port": silent.getsockname()[1], "timeout_seconds": 60.0}  # type: ignore[dict-item]
        with NodeProcess(
            folder / "node",
            bundle=TINY,
            archives=[archive],
            deliver_to=["silent"],
            settings={"study": {"quiet_seconds": 0.2}},
        ) as node:
            node.start()
            send_one_study(node, folder / "sent")
            with silent.accept()[0]:
                yield node


def test_a_long_job_does_not_hold_up_the_stop(folder: Path) -> None:
    with busy_node(folder) as node:
        began = time.monotonic()
        assert node.stop() == 0
        assert time.monotonic() - began < STOP_WITHIN
        assert postmaster(node) is None


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    with busy_node(folder) as node:
        node.send_signal(signal.SIGTERM)
        wait_until(lambda: not listens(node.dicom_port), "closed door")
        began = time.monotonic()
        assert node.stop() == 128 + signal.SIGTERM
        assert time.monotonic() - began < 2.0


def settings_for(folder: Path) -> Settings:
    return load_settings(
        data_dir=folder / "node" / "data",
        bundle=TINY,
        dimse={"port": free_port()},
        http={"port": free_port()},
    )


def test_health_tells_a_worker_or_a_watch_that_has_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(folder)
    (folder / "node").mkdir()
    node = Node(settings, Storage(settings))
    try:
        node.start(threading.Event())
        assert httpx.get(f"{node.url}/health", trust_env=False).status_code == 200
        for kind, word in ((WorkerThread, "worker"), (QuietWatch, "watched")):
            with monkeypatch.context() as patch:
                patch.setattr(kind, "alive", False)
                answer = httpx.get(f"{node.url}/health", trust_env=False)
                assert answer.status_code == 503
                assert word in answer.json()["reason"]
    finally:
        assert node.stop()


def test_every_step_of_the_stop_is_taken_where_one_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(folder)
    (folder / "node").mkdir()
    node = Node(settings, Storage(settings))
    stop = DicomServer.stop

    def stop_badly(server: DicomServer) -> None:
        stop(server)
        raise OSError("as a socket may")

    monkeypatch.setattr(DicomServer, "stop", stop_badly)
    node.start(threading.Event())
    with pytest.raises(OSError, match="as a socket may"):
        node.stop()
    assert not listens(settings.http.port)
    assert not (settings.data_dir / "postgres" / "postmaster.pid").exists()


def test_a_second_node_on_the_same_folder_is_refused_until_the_first_has_ended(folder: Path) -> None:
    (folder / "node").mkdir()
    first, second, third = (
        (settings, Node(settings, Storage(settings))) for settings in (settings_for(folder) for _ in range(3))
    )
    try:
        first[1].start(threading.Event())
        with pytest.raises(ConfigError, match=f"another .* runs on {first[0].data_dir}"):
            second[1].start(threading.Event())
        assert not listens(second[0].dimse.port)
        assert second[1].stop()
        assert httpx.get(f"{first[1].url}/health", trust_env=False).status_code == 200
        assert first[1].stop()
        third[1].start(threading.Event())
        assert listens(third[0].dimse.port)
    finally:
        for _, node in (first, second, third):
            node.stop()
