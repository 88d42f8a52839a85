"""SIGINT and SIGTERM: the first asks to stop, the second ends the process where it stands."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

SIGNALLED = 128
"""Plus its number: the exit status that shells give to a process that a signal ended."""


def stop_on_signals() -> threading.Event:
    """An event that the first SIGINT or SIGTERM sets. To be called once, by the main thread, before anything
    is started that has to be stopped.

    The second one ends the process at once; work that was under way is done again by the next one, and an
    embedded PostgreSQL runs on until then.
    """
    stop = threading.Event()

    def told(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            end_now(SIGNALLED + number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, told)
    return stop


def end_now(status: int) -> NoReturn:
    """End the process without waiting for its threads."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)
