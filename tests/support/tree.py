"""The project's own files, as the architecture tests see them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("dicom_node", "m3bind", "export", "orthanc_plugin")
TEXT_SUFFIXES = frozenset(
    {
        ".py",
        ".pyi",
        ".md",
        ".toml",
        ".yaml",
        ".yml",
        ".json",
        ".html",
        ".css",
        ".js",
        ".sql",
        ".sh",
        ".txt",
        ".csv",
    }
)
_NOT_OURS = frozenset({"build", "dist", "var", "out", "checkpoints", "work"})


def text_files() -> Iterator[Path]:
    """Every text file of the checkout that could be committed, without environments, caches and outputs."""
    yield from _walk(ROOT)


def python_files() -> Iterator[Path]:
    """Every Python file of the checkout, tests included."""
    return (path for path in text_files() if path.suffix in {".py", ".pyi"})


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            hidden = path.name.startswith(".") and path.name != ".ci"
            cache = path.name == "__pycache__" or path.name.endswith(".egg-info")
            ignored = folder == ROOT and path.name in _NOT_OURS
            environment = (path / "pyvenv.cfg").exists()
            if not (hidden or cache or ignored or environment):
                yield from _walk(path)
        elif path.suffix in TEXT_SUFFIXES or path.name in {"Makefile", "run"}:
            yield path
