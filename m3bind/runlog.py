"""What a stage tells while it trains: a bar on a terminal, else lines; a CSV; curves for TensorBoard."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dicom_node.errors import ConfigError
from m3bind.durable import write_durably

Tell = Callable[[str], None]
"""Takes one line."""

LINES = 8
"""Lines of progress per stage where there is no terminal."""


class Log(Protocol):
    """Told the figures of every step."""

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        """`step` counts from 1."""
        ...  # pragma: no cover

    def close(self) -> None:
        """No more steps."""
        ...  # pragma: no cover


class CsvLog:
    """`losses.csv`: one row per step, a column for each loss and learning rate. A row is written once."""

    def __init__(self, folder: Path, after: int) -> None:
        """Go on after step `after`: what a killed process wrote beyond it is cut off."""
        self._path = folder / "losses.csv"
        kept: list[list[str]] = []
        if after and self._path.is_file():
            rows = list(csv.reader(io.StringIO(self._path.read_text("utf-8"))))
            kept = rows[:1] + [row for row in rows[1:] if row and row[0].isdecimal() and int(row[0]) <= after]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(kept)
        write_durably(self._path, text.getvalue().encode())
        self._columns = kept[0] if kept else []
        self._file = self._path.open("a", encoding="utf-8", newline="", buffering=1)

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        """One row."""
        rows = csv.writer(self._file, lineterminator="\n")
        if not self._columns:
            self._columns = ["step", *figures]
            rows.writerow(self._columns)
        rows.writerow([step, *(f"{figures[name]:.8g}" for name in self._columns[1:])])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoardLog:
    """The same figures as curves: `tensorboard --logdir CHECKPOINT/logs` draws them."""

    def __init__(self, folder: Path, after: int) -> None:
        """Curves beyond step `after`, of a killed process, are hidden. Raises ConfigError without the
        package."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as missing:
            raise ConfigError(
                "Curves need the package tensorboard: pip install '.[train]', "
                "or set machine.tensorboard = false in the recipe."
            ) from missing
        if not after:
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
        self._writer: Any = SummaryWriter(str(folder), purge_step=after + 1 if after else None)

    def __call__(self, step: int, figures: Mapping[str, float]) -> None:
        """One point on every curve."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class Bar:
    """Where a stage is and when it will end. Use it as a context."""

    def __init__(self, name: str, steps: int, done: int, tell: Tell, drawn: bool) -> None:
        """`done` steps lie behind already; `tell` takes a line where there is no terminal; a bar is `drawn`
        by one process only."""
        self._name, self._steps, self._done, self._tell = name, steps, done, tell
        self._began, self._from = time.monotonic(), done
        self._bar: Progress | None = None
        if drawn and sys.stderr.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[figures]}"),
            )
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._task = self._bar.add_task(name, total=steps, completed=done, figures="")

    def __enter__(self) -> Bar:
        """Draw it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave it as it is."""
        if self._bar is not None:
            self._bar.stop()

    def step(self, figures: Mapping[str, float]) -> None:
        """One more step is done."""
        self._done += 1
        told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, figures=told)
        elif self._done == 1 or self._done % max(1, self._steps // LINES) == 0 or self._done == self._steps:
            spent = time.monotonic() - self._began
            left = spent / (self._done - self._from) * (self._steps - self._done)
            self._tell(f"{self._name} {self._done}/{self._steps}  {_minutes(left)} left  {told}")


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
