"""kill -9 at random moments: nothing that was acknowledged is lost, and no study gets two reports.

200 real images go by storescu to `dicom-node serve`, which reports to storescp. The node, its PostgreSQL and
both together are killed while they receive, the node again while it works; what was not acknowledged is sent
again. `M3BIND_KILL_SEED` chooses other moments.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.spool import Spool
from dicom_node.store.audit import trail
from dicom_node.store.database import Pool, open_pool
from dicom_node.store.embedded import EmbeddedPostgres
from dicom_node.store.states import StudyState
from dicom_node.store.studies import StudyStore
from tests.support.bundles import TINY
from tests.support.dcmtk import StoreScp, running_store_scp
from tests.support.many_studies import study_uid, write_image_studies
from tests.support.node_process import NodeProcess
from tests.support.peers import require
from tests.support.waiting import wait_until

pytestmark = pytest.mark.peer

STUDIES, INSTANCES = 10, 20
SENDERS = 2
QUIET_SECONDS = 6.0
"""Several times longer than it takes to send the rest of a study to a node that has come back: a study that
counted as complete before would rightly be reported twice, the second time with all of its images."""
KILLS_WHILE_WORKING = 2
STUDY_UIDS = [study_uid(number) for number in range(1, STUDIES + 1)]
DEAD_ENDS = (StudyState.FAILED, StudyState.REFUSED, StudyState.OUT_OF_SCOPE)


@contextmanager
def running_node(folder: Path, pacs: StoreScp) -> Iterator[NodeProcess]:
    """A started node that reports to `pacs`; neither it nor its database outlives the block."""
    archive = {"kind": "cstore", "name": "pacs", "host": "127.0.0.1", "port": pacs.port}
    node = NodeProcess(
        folder,
        bundle=TINY,
        archives=[archive | {"ae_title": pacs.ae_title}],
        deliver_to=["pacs"],
        settings={"study": {"quiet_seconds": QUIET_SECONDS}},
    )
    try:
        node.start()
        yield node
    finally:
        node.stop()
        # The database of a node that was killed runs on; whoever takes and leaves it last stops it.
        with EmbeddedPostgres(node.data_dir / "postgres"):
            pass


def kill_database(node: NodeProcess) -> None:
    pid_file = node.data_dir / "postgres" / "postmaster.pid"
    os.kill(int(pid_file.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)


def why_not_ready(node: NodeProcess) -> str:
    """The reason that /health gives; empty where the node is ready."""
    answer = httpx.get(f"{node.url}/health", trust_env=False, timeout=20.0)
    return str(answer.json()["reason"]) if answer.status_code == 503 else ""


def send(node: NodeProcess, files: Sequence[Path], acknowledged: set[Path]) -> str:
    """Send what is not acknowledged yet, in order, until done, refused or cut off; what storescu said."""
    (program,) = require("storescu")
    missing = [str(path) for path in files if path not in acknowledged]
    if not missing:
        return ""
    limits = ["-to", "10", "-ta", "20", "-td", "20", "-ts", "20"]
    said, sending = [], None
    with subprocess.Popen(
        [str(program), "-v", *limits, "-aec", node.ae_title, "127.0.0.1", str(node.dicom_port), *missing],
        env={**os.environ, "TCP_NODELAY": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "Sending file: " in line:
                sending = Path(line.split("Sending file: ")[1].strip())
            elif "Received Store Response (Success)" in line and sending is not None:
                acknowledged.add(sending)
    return "".join(said[-20:])


@contextmanager
def sending(node: NodeProcess, files: Sequence[Path], acknowledged: set[Path]) -> Iterator[list[Future[str]]]:
    """Several senders at once, each with every n-th study; the block's end waits for them."""
    folders = sorted({path.parent for path in files})
    with ThreadPoolExecutor(SENDERS) as pool:
        parts = [set(folders[first::SENDERS]) for first in range(SENDERS)]
        yield [
            pool.submit(send, node, [path for path in files if path.parent in part], acknowledged)
            for part in parts
        ]


def wait_for_acknowledgements(goal: int, acknowledged: set[Path], senders: Sequence[Future[str]]) -> None:
    def told() -> bool:
        return len(acknowledged) >= goal or all(sender.done() for sender in senders)

    wait_until(told, f"{goal} acknowledgements")
    assert len(acknowledged) >= goal, [sender.result() for sender in senders if sender.done()]


def receive_with_kills(node: NodeProcess, files: Sequence[Path], chance: random.Random) -> list[str]:
    """Everything is acknowledged in the end; returns what happened, for the log."""
    acknowledged: set[Path] = set()
    told = []
    victims = ["node", "database", "node and database"]
    chance.shuffle(victims)
    for victim in victims:
        goal = len(acknowledged) + chance.randint(15, 45)
        with sending(node, files, acknowledged) as senders:
            wait_for_acknowledgements(goal, acknowledged, senders)
            time.sleep(chance.uniform(0, 0.05))
            if "node" in victim:
                node.kill()
            if "database" in victim:
                kill_database(node)
            if victim == "database":
                wait_until(lambda: why_not_ready(node).startswith("the database"), "word of the loss")
                assert node.stop() == 0
        told.append(f"{victim} at {len(acknowledged)} images")
        assert len(acknowledged) < len(files), told
        node.start()
    with sending(node, files, acknowledged) as last:
        said = [sender.result(timeout=60) for sender in last]
    assert acknowledged == set(files), said
    return told


def states(node: NodeProcess) -> dict[str, int]:
    """How many studies are in each state; AssertionError for one that ended without a report."""
    counts: dict[str, int] = node.get("/api/studies")["counts"]
    assert not any(counts[state] for state in DEAD_ENDS), f"{counts}\n{node.log_text()}"
    return counts


def work_with_kills(node: NodeProcess, chance: random.Random) -> list[str]:
    """The node is killed when some studies are reported and others not."""
    told = []
    reported = 0
    for _ in range(KILLS_WHILE_WORKING):
        goal = reported + chance.randint(1, 2)
        wait_until(lambda goal=goal: states(node)["reported"] >= goal, f"{goal} reports", 40)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1))
        reported = states(node)["reported"]
        node.kill()
        told.append(f"node at {reported} reports")
        assert reported < STUDIES, told
        node.start()
    return told


def wait_for_deliveries(node: NodeProcess) -> None:
    wait_until(lambda: states(node)["reported"] == STUDIES, f"{STUDIES} reports", 40)

    def delivered(uid: str) -> bool:
        owed = node.get(f"/api/studies/{uid}")["deliveries"]
        return bool(owed) and all(delivery["state"] == "delivered" for delivery in owed)

    for uid in STUDY_UIDS:
        wait_until(lambda uid=uid: delivered(uid), "delivery of each report", 40)  # type: ignore[misc]


@pytest.mark.timeout(240)
def test_nothing_acknowledged_is_lost_and_nothing_is_reported_twice() -> None:
    seed = int(os.environ.get("M3BIND_KILL_SEED", "20261122"))
    chance = random.Random(seed)
    with ExitStack() as stack:
        # Not pytest's own folder: run as root, the embedded PostgreSQL is another user, who may not enter it.
        name = stack.enter_context(TemporaryDirectory(prefix="m3bind-kill-", ignore_cleanup_errors=True))
        folder = Path(name)
        files = write_image_studies(folder / "sent", STUDIES, INSTANCES)
        pacs = stack.enter_context(running_store_scp(folder / "pacs", ae_title="PACS"))
        node = stack.enter_context(running_node(folder / "node", pacs))
        told = receive_with_kills(node, files, chance)
        told += work_with_kills(node, chance)
        print(f"seed {seed}: killed {', '.join(told)}")
        wait_for_deliveries(node)
        assert node.stop() == 0

        spool = node.data_dir / "spool"
        with EmbeddedPostgres(node.data_dir / "postgres") as server:
            pool = open_pool(server.url, size=2)
            try:
                store = StudyStore(pool, Spool(spool).root)
                check_instances(store, spool, files)
                check_reports(store, spool, pacs)
                check_trail(pool)
            finally:
                pool.close()


def content_digest(path: Path) -> str:
    """Hex sha256 of the data set, which follows preamble, prefix and group 2 (PS3.10 section 7.1)."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    return hashlib.sha256(path.read_bytes()[132 + 12 + meta.FileMetaInformationGroupLength :]).hexdigest()


def check_instances(store: StudyStore, spool: Path, files: Sequence[Path]) -> None:
    """What is known, what lies on disk and what was sent are the same."""
    sent = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in files}
    kept = {i.sop_instance_uid: i for uid in STUDY_UIDS for i in store.instances(uid)}
    assert kept.keys() == sent.keys()
    assert {uid: i.sha256 for uid, i in kept.items()} == {u: content_digest(f) for u, f in sent.items()}
    assert all(content_digest(instance.path) == instance.sha256 for instance in kept.values())
    assert {i.path for i in kept.values()} == set((spool / "instances").rglob("*.dcm"))
    assert list((spool / "incoming").iterdir()) == []


def check_reports(store: StudyStore, spool: Path, pacs: StoreScp) -> None:
    """Each study has one report, of all of its images; the archive holds it, and no other."""
    reports = {uid: store.reports(uid) for uid in STUDY_UIDS}
    assert [len(found) for found in reports.values()] == [1] * STUDIES
    ours = {report.sop_instance_uid: report for found in reports.values() for report in found}
    assert {report.path for report in ours.values()} == set((spool / "reports").rglob("*.dcm"))
    assert all(hashlib.sha256(r.path.read_bytes()).hexdigest() == r.sha256 for r in ours.values())
    held = [dcmread(path) for path in pacs.files()]
    assert sorted(str(report.StudyInstanceUID) for report in held) == sorted(STUDY_UIDS)
    for report in held:
        assert report.SOPClassUID == Comprehensive3DSRStorage
        assert "PredecessorDocumentsSequence" not in report
        assert report == dcmread(ours[str(report.SOPInstanceUID)].path)
    for uid in STUDY_UIDS:
        study = store.study(uid)
        assert study is not None
        assert study.report_uid == reports[uid][0].sop_instance_uid


def check_trail(pool: Pool) -> None:
    """Reported once, delivered once, and never given up or superseded."""
    for uid in STUDY_UIDS:
        events = [entry.event for entry in trail(pool, uid)]
        assert sorted(set(events)) == sorted(events), events
        assert set(events) == {"study.queued", "study.reported", "report.delivered"}
