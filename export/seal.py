"""Puts a finished folder in its place, with digests of all that it holds."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.bundle.manifest import Manifest
from dicom_node.bundle.store import MANIFEST
from dicom_node.errors import ConfigError

MOST_MEGABYTES = 40.0
"""A bundle is kept in the project's repository, and in every clone of it."""


def digests(folder: Path) -> dict[str, str]:
    """sha256 of every file but the manifest, by path relative to `folder`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last file of a bundle."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")


def size(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@contextmanager
def workshop(out: Path, most_megabytes: float = MOST_MEGABYTES) -> Iterator[Path]:
    """An empty folder beside `out` that takes its place when all went well, and leaves no trace when not.

    Raises ConfigError where `out` exists and is not a bundle: nothing else is ever overwritten; and where
    the finished folder is larger than `most_megabytes` (of 1,000,000 bytes).
    """
    if out.exists() and not (out / MANIFEST).is_file():
        raise ConfigError(f"{out} exists and is no bundle. Give another --out, or remove it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}-"))
    try:
        folder.chmod(0o755)
        yield folder
        megabytes = size(folder) / 1e6
        if megabytes > most_megabytes:
            raise ConfigError(f"The bundle takes {megabytes:.1f} MB, more than {most_megabytes:.0f} MB.")
        former = folder.with_name(folder.name + "-former")
        if out.exists():
            out.rename(former)
        folder.rename(out)
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
