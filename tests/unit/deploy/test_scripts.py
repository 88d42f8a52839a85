"""The shell scripts around the suite, with stand-ins for the programs of the machine on PATH."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.tree import ROOT

PACKAGES = ROOT / "deploy" / "debian-packages.sh"
CI_RUN = ROOT / ".ci" / "run"

# Says that a package is installed when a file of that name lies in $STATE.
DPKG_QUERY = 'for last; do :; done; [ -e "$STATE/$last" ] && echo "install ok installed"'
APT_GET = 'echo "apt-get $*" >>"$STATE/.calls"; [ "$1" = install ] && for p; do touch "$STATE/$p"; done; true'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A folder of programs that comes first on PATH, and `state` below it."""
    (tmp_path / "state").mkdir()
    _program(tmp_path, "dpkg-query", DPKG_QUERY)
    _program(tmp_path, "apt-get", APT_GET)
    _program(tmp_path, "env", 'shift; exec "$@"')
    _program(tmp_path, "id", "echo 0")
    return tmp_path


def _program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def _run(machine: Path, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{machine}:{os.environ['PATH']}", "STATE": str(machine / "state")}
    return subprocess.run(
        [script, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def _apt_calls(machine: Path) -> list[str]:
    calls = machine / "state" / ".calls"
    return calls.read_text(encoding="utf-8").splitlines() if calls.exists() else []


def test_nothing_is_done_when_all_is_there(machine: Path) -> None:
    (machine / "state" / "dcmtk").touch()
    assert _run(machine, PACKAGES, "dcmtk").returncode == 0
    assert _apt_calls(machine) == []


def test_root_installs_only_what_is_missing(machine: Path) -> None:
    (machine / "state" / "dcmtk").touch()
    done = _run(machine, PACKAGES, "dcmtk", "orthanc", "chromium")
    assert done.returncode == 0, done.stderr
    assert _apt_calls(machine) == ["apt-get update -q", "apt-get install -q -y orthanc chromium"]


def test_passwordless_sudo_is_used(machine: Path) -> None:
    _program(machine, "id", "echo 1000")
    _program(machine, "sudo", '[ "$1" = -n ] && shift; exec "$@"')
    assert _run(machine, PACKAGES, "orthanc").returncode == 0
    assert len(_apt_calls(machine)) == 2


def test_without_the_right_it_says_what_to_run(machine: Path) -> None:
    _program(machine, "id", "echo 1000")
    _program(machine, "sudo", "exit 1")
    done = _run(machine, PACKAGES, "orthanc", "dcmtk")
    assert done.returncode == 1
    assert "no right to install" in done.stderr
    assert "apt-get install -y orthanc dcmtk" in done.stderr
    assert _apt_calls(machine) == []


def test_an_installation_that_did_not_help_is_a_failure(machine: Path) -> None:
    _program(machine, "apt-get", "true")
    done = _run(machine, PACKAGES, "orthanc")
    assert done.returncode == 1
    assert "still missing: orthanc" in done.stderr


@pytest.mark.parametrize("status", [0, 2])
def test_ci_ends_with_the_closing_line_and_the_status_of_the_run(machine: Path, status: int) -> None:
    closing = "==== 1 failed, 2 passed, 3 skipped in 4.56s (0:00:04) ===="
    _program(machine, "make", f'echo "CI=$CI $*"; echo "{closing}"; echo "make: *** Error"; exit {status}')
    done = _run(machine, CI_RUN)
    assert done.returncode == status
    lines = done.stdout.splitlines()
    assert lines[0] == "CI=true test"
    assert lines[-1] == closing


def test_ci_says_so_when_pytest_never_ended(machine: Path) -> None:
    _program(machine, "make", "echo mypy failed; exit 2")
    done = _run(machine, CI_RUN)
    assert done.returncode == 2
    assert "did not get to its closing line" in done.stderr
