"""Commands that `m3bind run` starts as processes of their own: one modality each, and the export."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from dicom_node.errors import ConfigError
from m3bind.config import BundleRecipe, Recipe
from m3bind.runlog import Tell


def default_jobs(recipe: Recipe) -> int:
    """As many as there are cores for, at the recipe's threads each; no more than modalities."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(len(recipe.modalities), cores // recipe.threads))


class Children:
    """Processes that end with this one: leaving the context terminates those that still run."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[str]] = []
        self._closed = False

    def __enter__(self) -> Children:
        """Nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Terminate what still runs."""
        with self._lock:
            self._closed = True
            for child in self._running:
                child.terminate()

    def run(self, words: Sequence[str], threads: int) -> None:
        """Run a module of Python to its end, telling its lines. Raises ConfigError where it fails."""
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
        with self._lock:
            if self._closed:
                return
            child = subprocess.Popen(  # noqa: S603 - this interpreter and words of our own
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env=environment,
            )
            self._running.append(child)
        assert child.stdout is not None  # noqa: S101 # asked for above
        with child.stdout:
            for line in child.stdout:
                self._tell(line.rstrip("\n"))
        status = child.wait()
        with self._lock:
            self._running.remove(child)
            closed = self._closed
        if status and not closed:
            raise ConfigError(f"`{' '.join(words)}` ended with {status}; its lines above say why.")


def pretrain_in_parallel(
    recipe: Recipe, modalities: Sequence[str], words: Sequence[str], jobs: int, tell: Tell
) -> None:
    """`m3bind pretrain` for each modality, `jobs` at a time, in the recipe's order (name the slowest first).
    The first failure ends all: what was done, and snapshots, stay."""
    # The pool is outside: children are terminated before it waits for those who read their lines.
    with ThreadPoolExecutor(jobs) as pool, Children(tell) as children:
        tasks = [
            pool.submit(children.run, ["m3bind.cli", "pretrain", *words, "--modality", m], recipe.threads)
            for m in modalities
        ]
        for task in wait(tasks, return_when=FIRST_EXCEPTION).done:
            task.result()


def build_bundle(work: Path, bundle: BundleRecipe, tell: Tell) -> None:
    """`m3bind-export build`: the checkpoint in `work` as a sealed bundle."""
    words = ["export.cli", "build", str(work), "--out", bundle.out]
    words += ["--threads", str(bundle.threads), "--max-mb", str(bundle.max_mb)]
    with Children(tell) as children:
        children.run(words, bundle.threads)
