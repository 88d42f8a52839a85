"""The programs of others that tests talk to: skipped over where they are missing, except in CI."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

EXTRA_FOLDERS = ("/usr/sbin", "/usr/local/sbin")
"""Debian puts `Orthanc` into sbin, which is not on an ordinary user's PATH."""


def in_ci() -> bool:
    """Whether a missing peer is a failure: CI=true, as `.ci/run` and most CI services set it."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def locate(program: str) -> Path | None:
    """Path of a program on PATH, or of a file named by its absolute path (jar, plugin); None if missing."""
    if program.startswith("/"):
        return Path(program) if Path(program).exists() else None
    # In an active environment pynetdicom's storescp and echoscu would stand before dcmtk's, the real peers.
    own = Path(sys.executable).parent
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join([*(folder for folder in folders if Path(folder) != own), *EXTRA_FOLDERS])
    found = shutil.which(program, path=path)
    return None if found is None else Path(found)


def require(*programs: str) -> tuple[Path, ...]:
    """The paths of all `programs` (names on PATH, or absolute paths of files), in order.

    Where one is missing the calling test is skipped with the reason; under CI=true it fails.
    """
    paths = [locate(program) for program in programs]
    missing = [program for program, path in zip(programs, paths, strict=True) if path is None]
    if missing:
        reason = f"missing: {', '.join(missing)}; `make test` installs what it needs (PEERS in the Makefile)"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    return tuple(path for path in paths if path is not None)
