"""One probe at a time for an archive that is down, so that others do not wait behind its time-outs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

REST_SECONDS = 60.0
"""Between two probes of an archive that is down, for all jobs together. A time-out takes 10 s (HTTP) or 30 s
(C-STORE): a dead archive then takes at most a third of one slot."""


class Gate:
    """Which archives do not answer, as this process has seen. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed: dict[str, float] = {}
        self._lock = threading.Lock()

    def wait_for(self, archive: str) -> float:
        """Seconds to stay away; 0: go. Who goes to an archive that is down is its only probe for a while."""
        with self._lock:
            until = self._closed.get(archive)
            if until is None:
                return 0.0
            now = self._clock()
            if now < until:
                return until - now
            self._closed[archive] = now + REST_SECONDS
            return 0.0

    def failed(self, archive: str) -> None:
        """It does not answer."""
        with self._lock:
            self._closed[archive] = self._clock() + REST_SECONDS

    def answered(self, archive: str) -> bool:
        """It does; whether it did not before."""
        with self._lock:
            return self._closed.pop(archive, None) is not None
