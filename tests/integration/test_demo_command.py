"""`dicom-node demo` as its reader runs it, with its output not on a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.demo import MARKER
from tests.support.tree import ROOT

ANY_PORTS = {"M3BIND__HTTP__PORT": "0", "M3BIND__DIMSE__PORT": "0"}


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="m3demo"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def demo(folder: Path, *options: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "dicom_node.cli", "demo", "--data-dir", str(folder), *options],
        cwd=ROOT,
        env={**os.environ, **ANY_PORTS, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("variable", ["M3BIND__HTTP__PORT", "M3BIND__DIMSE__PORT"])
def test_nothing_is_removed_where_a_port_is_taken(folder: Path, variable: str) -> None:
    earlier = folder / "demo" / "earlier.dcm"
    earlier.parent.mkdir()
    (earlier.parent / MARKER).touch()
    earlier.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = demo(earlier.parent, "--once", **{variable: str(taken.getsockname()[1])})
        said, _ = run.communicate(timeout=60)
    assert run.returncode == 1, said
    assert "cannot listen" in said
    assert earlier.exists()


def test_it_says_each_step_and_a_second_one_leaves_it_alone(folder: Path) -> None:
    first = demo(folder / "demo", M3BIND__DATA_DIR=str(folder / "of-the-site"))
    assert first.stdout is not None
    lines = []
    try:
        for line in first.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        told = "".join(lines)
        for step in ("starting the node", "node ready", "sending ", "waiting for the report of "):
            assert step in told, told
        assert not (folder / "of-the-site").exists()

        second = demo(folder / "demo", "--once")
        said, _ = second.communicate(timeout=60)
        assert second.returncode == 1, said
        assert "a demo runs in" in said
        address = re.search(r"web page: (\S+)", told)
        assert address is not None
        studies = httpx.get(f"{address[1]}/api/studies", trust_env=False).json()
        assert studies["counts"]["reported"] == 5
    finally:
        first.send_signal(signal.SIGINT)
        rest, _ = first.communicate(timeout=60)
    assert first.returncode == 0, rest
    assert "stopping the node" in rest
    assert not (folder / "demo" / "postgres" / "postmaster.pid").exists()
