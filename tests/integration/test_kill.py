"""kill -9 at random moments: nothing that was acknowledged is lost, and no study gets two reports."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.spool import Spool
from dicom_node.store.database import open_pool
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.states import DeliveryState, StudyState
from dicom_node.store.studies import StudyStore
from tests.support.peers import require
from tests.support.small_dicom import ROOT, write_studies
from tests.support.tree import ROOT as REPOSITORY
from tests.support.waiting import wait_until

STUDIES, INSTANCES = 8, 25
QUIET_SECONDS = 1.5
KILLS_WHILE_RECEIVING = 3
KILLS_WHILE_PROCESSING = 2


class NodeProcess:
    """A node that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        log = self._folder / "node.log"
        with log.open("w", encoding="utf-8") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.small_node", str(self._folder), str(QUIET_SECONDS)],
                cwd=REPOSITORY,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        wait_until(lambda: "ready " in log.read_text(encoding="utf-8"), "node that is ready", 60)
        self.port = int(log.read_text(encoding="utf-8").split("ready ")[1].split()[0])

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill_database(self) -> None:
        pid_file = self._folder / "pg" / "postmaster.pid"
        os.kill(int(pid_file.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)

    def _end(self, kind: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(kind)
            self._process.wait(30)
            self._process = None


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's folder: see tests/conftest.py."""
    made = Path(tempfile.mkdtemp(prefix="m3kill"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def send_until_cut_off(port: int, files: list[Path], acknowledged: set[Path]) -> None:
    """Send what is not acknowledged yet, in order, until done or until the peer is gone."""
    (program,) = require("storescu")
    missing = [str(path) for path in files if path not in acknowledged]
    with subprocess.Popen(
        [str(program), "-v", "-aec", "M3BIND", "127.0.0.1", str(port), *missing],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as sender:
        assert sender.stdout is not None
        sending = None
        for line in sender.stdout:
            if "Sending file: " in line:
                sending = Path(line.split("Sending file: ")[1].strip())
            elif "Received Store Response (Success)" in line and sending is not None:
                acknowledged.add(sending)


def send_with_kills(node: NodeProcess, files: list[Path], chance: random.Random) -> set[Path]:
    acknowledged: set[Path] = set()
    for kill in range(KILLS_WHILE_RECEIVING):
        goal = len(acknowledged) + chance.randint(20, 60)
        sender = threading.Thread(target=send_until_cut_off, args=(node.port, files, acknowledged))
        sender.start()
        wait_until(lambda goal=goal: len(acknowledged) >= goal, "further acknowledgements")  # type: ignore[misc]
        threading.Event().wait(chance.uniform(0, 0.05))
        node.kill()
        if kill == KILLS_WHILE_RECEIVING - 1:
            node.kill_database()
        sender.join()
        node.start()
    send_until_cut_off(node.port, files, acknowledged)
    assert len(acknowledged) == len(files)
    return acknowledged


@pytest.mark.timeout(180)
@pytest.mark.peer
def test_nothing_acknowledged_is_lost_and_nothing_is_reported_twice(folder: Path, tmp_path: Path) -> None:
    seed = int(os.environ.get("M3BIND_KILL_SEED", "20261122"))
    chance = random.Random(seed)
    files = write_studies(tmp_path, STUDIES, INSTANCES, kilobytes=64)
    node = NodeProcess(folder)
    node.start()
    try:
        acknowledged = send_with_kills(node, files, chance)
        for _ in range(KILLS_WHILE_PROCESSING):
            threading.Event().wait(QUIET_SECONDS * chance.uniform(0.9, 1.4))
            node.kill()
            node.start()
        with EmbeddedPostgres(folder / "pg") as server:
            pool = open_pool(server.url, size=2)
            try:
                check(StudyStore(pool, Spool(folder / "spool").root), folder, acknowledged, seed)
            finally:
                pool.close()
    finally:
        node.stop()
    assert list((folder / "spool" / "incoming").iterdir()) == []


def check(store: StudyStore, folder: Path, acknowledged: set[Path], seed: int) -> None:
    studies = [f"{ROOT}.{number}" for number in range(1, STUDIES + 1)]
    wait_until(lambda: store.counts()[StudyState.REPORTED] == STUDIES, f"eight reports (seed {seed})", 60)
    wait_until(
        lambda: all(d.state is DeliveryState.DELIVERED for s in studies for d in store.deliveries(s)),
        f"delivery of each report (seed {seed})",
        60,
    )
    kept = {i.sop_instance_uid: i for study in studies for i in store.instances(study)}
    sent = {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, acknowledged)}
    assert [uid for uid in sent if uid not in kept or not kept[uid].path.exists()] == [], f"seed {seed}"
    assert all(dcmread(kept[uid].path) == dataset for uid, dataset in sent.items())
    reports = {study: store.reports(study) for study in studies}
    assert [len(found) for found in reports.values()] == [1] * STUDIES, f"seed {seed}"
    for found in reports.values():
        assert len(found[0].path.read_bytes().splitlines()) == INSTANCES
    delivered = Counter((folder / "delivered.txt").read_text(encoding="ascii").split("\n"))
    delivered.pop("")
    assert set(delivered) == {f"{found[0].sop_instance_uid} pacs" for found in reports.values()}
