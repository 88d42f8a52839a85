"""One probe at a time for an archive that is down, so that others do not wait behind its time-outs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

FIRST_REST_SECONDS = 2.0
"""Before the first probe of an archive that does not answer; doubled after each probe that fails."""
REST_SECONDS = 60.0
"""The longest rest between two probes, for all jobs together. A time-out takes 10 s (HTTP) or 30 s (C-STORE):
an archive that is dead for long takes at most a third of one slot."""


class Gate:
    """Which archives do not answer, as this process has seen. Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._closed: dict[str, tuple[float, float]] = {}
        """By archive: closed until when, and the rest that this is the end of."""
        self._lock = threading.Lock()

    def wait_for(self, archive: str) -> float:
        """Seconds to stay away; 0: go. Who goes to an archive that is down is its only probe for a while."""
        with self._lock:
            until, rest = self._closed.get(archive, (0.0, 0.0))
            if rest == 0.0:
                return 0.0
            now = self._clock()
            if now < until:
                return until - now
            self._closed[archive] = (now + REST_SECONDS, rest)  # until the probe tells
            return 0.0

    def failed(self, archive: str) -> None:
        """It does not answer."""
        with self._lock:
            _, rest = self._closed.get(archive, (0.0, FIRST_REST_SECONDS / 2))
            rest = min(rest * 2, REST_SECONDS)
            self._closed[archive] = (self._clock() + rest, rest)

    def answered(self, archive: str) -> bool:
        """It does; whether it did not before."""
        with self._lock:
            return self._closed.pop(archive, None) is not None
