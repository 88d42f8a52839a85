"""The frozen tiny bundle, and ways to alter a copy of it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

TINY = Path(__file__).parents[1] / "contract" / "bundle_v1_tiny"
"""Never written to."""


def copy_tiny(folder: Path) -> Path:
    """A copy in `folder`, which must not exist yet, to be altered."""
    return copy_of(TINY, folder)


def copy_of(bundle: Path, folder: Path) -> Path:
    """Likewise of another bundle."""
    shutil.copytree(bundle, folder)
    return folder


def alter_json(file: Path, change: Callable[[Any], None]) -> None:
    """Apply `change` to the parsed content of `file`, in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def reseal(bundle: Path) -> Path:
    """List the files as they now are: what a dishonest or mistaken exporter would do."""

    def change(manifest: Any) -> None:
        files = sorted(p for p in bundle.rglob("*") if p.is_file() and p.name != "bundle.json")
        manifest["files"] = {
            p.relative_to(bundle).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
        }

    alter_json(bundle / "bundle.json", change)
    return bundle
