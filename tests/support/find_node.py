"""A DICOM port that answers questions about given objects, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.dimse.find_scp import FindPorts, FindSettings
from dicom_node.dimse.find_semantic import Asker
from dicom_node.dimse.server import DicomServer, ScpSettings
from dicom_node.intake import Intake
from dicom_node.matching.register import Register
from dicom_node.spool import Spool
from dicom_node.store.database import Pool, open_pool
from dicom_node.store.find_index import FindIndex
from dicom_node.store.studies import StudyStore
from tests.support.postgres import Databases


@dataclass(frozen=True, slots=True)
class FindNode:
    """What the tests ask."""

    port: int
    pool: Pool
    intake: Intake
    store: StudyStore
    index: FindIndex
    spool: Spool

    def take(self, files: Sequence[Path], origin: str | None = None) -> None:
        """Take files in, as an archive that announced them would bring them."""
        for path in files:
            self.intake.accept_file(path, origin=origin)


@contextmanager
def finding_node(
    databases: Databases,
    folder: Path,
    *,
    settings: FindSettings | None = None,
    search: Callable[[Pool], Asker | None] = lambda _: None,
) -> Iterator[FindNode]:
    """A node without a worker inside the block. Its register has no thread: whoever asks waits for it."""
    url = databases.create()
    pool = open_pool(url, size=6)
    spool = Spool(folder / "spool", min_free_bytes=1)
    spool.open()
    store = StudyStore(pool, spool.root)
    index = FindIndex(pool, spool.root)
    intake = Intake(spool, store)
    ports = FindPorts(index, Register(index).catch_up, lambda: search(pool), lambda: "tiny 1")
    scp = ScpSettings(port=0, idle_seconds=20, find=settings or FindSettings())
    server = DicomServer(intake, scp, ports)
    try:
        yield FindNode(server.start(), pool, intake, store, index, spool)
    finally:
        server.stop()
        pool.close()
        databases.drop(url)
