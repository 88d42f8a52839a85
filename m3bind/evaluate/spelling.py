"""A command as a reader would type it: no folder of the machine where it ran."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def spelled(words: Sequence[str], here: Path | None = None) -> str:
    """The words of a command in one line; a path inside the folder it ran in (`here`, the current one unless
    told) is told from there, of one outside only the last component."""
    base = (here or Path.cwd()).resolve()
    return shlex.join(_told(word, base) for word in words)


def _told(word: str, base: Path) -> str:
    path = Path(word)
    if not path.is_absolute() and ".." not in path.parts:
        return word
    whole = (base / path).resolve()
    return str(whole.relative_to(base)) if whole.is_relative_to(base) else whole.name


def respelled(command: str) -> str:
    """A command of a file made elsewhere: of its absolute paths, and those that lead out of the folder it ran
    in, the last component."""
    return shlex.join(
        Path(word).name if Path(word).is_absolute() or ".." in Path(word).parts else word
        for word in shlex.split(command)
    )
