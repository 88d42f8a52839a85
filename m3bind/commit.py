"""Which code this is."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOMS = (
    "m3bind",
    "export",
    "dicom_node/bundle",
    "dicom_node/findings",
    "dicom_node/inference",
    "dicom_node/pixels",
    "dicom_node/records.py",
)
"""What takes part in training and sealing, relative to the repository."""


def commit_of_code(rooms: Sequence[str] = ROOMS) -> str:
    """The commit of the repository that this package lies in, `-dirty` where a file of `rooms` differs from
    it or is not in it; `unknown` outside a repository."""
    folder = Path(__file__).resolve().parents[1]
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--", *rooms)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changed else commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - the words are those above
        ["git", *words],  # noqa: S607
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()
