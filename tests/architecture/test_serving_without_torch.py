"""Serving works without the training stack: not installed, not imported, not by accident."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dcmtk import running_store_scp, store_scu
from tests.support.node_process import NodeProcess
from tests.support.tree import ROOT
from tests.support.waiting import wait_until

FORBIDDEN = ("torch", "transformers", "timm", "peft", "m3bind", "export", "sklearn", "scipy")

IMPORT_ALL = """
import importlib, pkgutil, sys
import dicom_node
names = [m.name for m in pkgutil.walk_packages(dicom_node.__path__, "dicom_node.")]
for name in names:
    importlib.import_module(name)
print(len(names))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_no_module_of_the_node_brings_in_the_training_stack() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    count, loaded = run.stdout.strip().splitlines()
    assert int(count) >= 30, "the walk over dicom_node is broken"
    assert not set(loaded.split()) & set(FORBIDDEN)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own folder, which only its owner may enter: root's PostgreSQL is another user."""
    with tempfile.TemporaryDirectory(prefix="m3node", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.peer
def test_a_node_at_work_never_loads_the_training_stack(folder: Path) -> None:
    """From start to delivered report; Python itself lists every import of the process (-X importtime)."""
    sample = ROOT / "dicom_node" / "assets" / "samples" / "xray"
    with running_store_scp(folder / "archive", ae_title="ARCHIVE") as archive:
        node = NodeProcess(
            folder / "node",
            bundle=ROOT / "tests" / "contract" / "bundle_v1_tiny",
            archives=[
                {
                    "kind": "cstore",
                    "name": "a",
                    "host": "127.0.0.1",
                    "port": archive.port,
                    "ae_title": "ARCHIVE",
                }
            ],
            deliver_to=["a"],
            settings={"study": {"quiet_seconds": 0.2}, "spool": {"min_free_bytes": 0}},
            environment={"PYTHONPROFILEIMPORTTIME": "1"},
        )
        with node:
            node.start()
            store_scu([sample], node.dicom_port, called=node.ae_title)
            wait_until(lambda: bool(archive.files()), "report in the archive", 60)
    log = node.log.read_text(encoding="utf-8", errors="replace")
    loaded = set(re.findall(r"^import time:.*\| +([A-Za-z_]\w*)", log, flags=re.MULTILINE))
    assert {"onnxruntime", "highdicom", "procrastinate"} <= loaded, "the list of imports is not complete"
    assert not loaded & set(FORBIDDEN)


def test_the_forbidden_are_installed_here_so_that_the_test_can_fail() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('torch') is not None)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.strip() == "True"
