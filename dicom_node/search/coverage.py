"""How many studies cannot answer yet, because another bundle looked at them last."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock

from dicom_node.records import BundleIdentity
from dicom_node.search.ports import Index

KEPT_SECONDS = 60.0
"""Counting them reads a line of every study: not for each question."""


class Coverage:
    """The count for one bundle, taken again from time to time."""

    def __init__(
        self, index: Index, current: BundleIdentity, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._current = current
        self._clock = clock
        self._kept: tuple[float, int] | None = None
        self._lock = Lock()

    def missing(self) -> int:
        """Studies that other bundles answer for. Raises DatabaseUnavailableError."""
        with self._lock:
            if self._kept is None or self._clock() >= self._kept[0] + KEPT_SECONDS:
                told = self._index.coverage(self._current)
                count = sum(one.studies for one in told if one.bundle.digest != self._current.digest)
                self._kept = (self._clock(), count)
            return self._kept[1]
