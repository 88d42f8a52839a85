"""What a bundle's first load computes and later loads need not: prompt anchors, and the proof of a passed
self-test. Losing the folder costs a second; a damaged file is computed again."""

from __future__ import annotations

import os
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import structlog

from dicom_node.inference.protocol import Array

log = structlog.get_logger(__name__)


class LoadCache:
    """Files of one bundle in `folder`, named by its digest; None keeps nothing."""

    def __init__(self, folder: Path | None, digest: str) -> None:
        self._folder = folder
        self._digest = digest

    def arrays(self, name: str) -> dict[str, Array] | None:
        """What was kept under `name`; None where there is nothing, or nothing whole."""
        if self._folder is None:
            return None
        path = self._arrays_path(self._folder, name)
        try:
            with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as kept:
                return {key: kept[key] for key in kept.files}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            log.warning("load_cache_damaged", file=path.name, error=str(error))
            return None

    def keep_arrays(self, name: str, **arrays: Array) -> None:
        """For the next load."""
        if self._folder is not None:
            buffer = BytesIO()
            np.savez(buffer, allow_pickle=False, **arrays)
            _write(self._arrays_path(self._folder, name), buffer.getvalue())

    def passed(self, surroundings: str) -> bool:
        """Whether the self-test passed before in the same surroundings."""
        return self._folder is not None and self._marker_path(self._folder, surroundings).is_file()

    def keep_passed(self, surroundings: str) -> None:
        """For the next load."""
        if self._folder is not None:
            _write(self._marker_path(self._folder, surroundings), b"")

    def _arrays_path(self, folder: Path, name: str) -> Path:
        return folder / f"{name}-{self._digest}.npz"

    def _marker_path(self, folder: Path, surroundings: str) -> Path:
        return folder / f"selftest-{self._digest[:16]}-{surroundings}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all; a folder that cannot be written costs time at every load, and is told."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(path)
    except OSError as error:
        log.warning("load_cache_not_written", folder=str(path.parent), error=error.strerror)
