"""The background thread that tells the node of every study that became stable, sooner or later.

It reads Orthanc's change log from where it left off, so a study is told of whether it came while the
node was down, while Orthanc was restarted, or a moment ago. The callback that Orthanc calls only wakes it.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any, Protocol

from orthanc_plugin.events import (
    NEW_INSTANCE,
    STABLE_STUDY,
    Backlog,
    Backoff,
    ChangePage,
    Progress,
    StudyContent,
    fingerprint,
)
from orthanc_plugin.node_client import Announcement, NodeRefusedError, NodeUnavailableError
from orthanc_plugin.settings import Settings

PAGE = 500
"""Lines of the change log per reading: some milliseconds during which Python's lock is held."""
MAX_WAITING = 10_000
"""Studies held in memory; further ones stay in the log until there is room."""
MAX_REFUSED = 1_000
"""Studies that the node refused, kept to be offered again. With this many, something is wrong with the
set-up rather than with a study, and everything waits."""
IDLE_SECONDS = 60.0
"""The log is read this often even if nobody wakes the thread."""
OFFER_AGAIN_SECONDS = 3600.0
"""How often refused studies are offered again."""
WINDOW_MARGIN_SECONDS = 60.0
"""Added to Orthanc's StableAge, see Backlog."""
STOP_SECONDS = 3.0
"""How long Orthanc's own stop may be held up by an announcement under way."""


class Host(Protocol):
    """The archive."""

    def info(self, message: str) -> None: ...  # noqa: D102 - see OrthancHost, here and below
    def warn(self, message: str) -> None: ...  # noqa: D102
    def error(self, message: str) -> None: ...  # noqa: D102
    def changes(self, since: int, limit: int) -> ChangePage: ...  # noqa: D102
    def last_change(self) -> int: ...  # noqa: D102
    def study_of(self, instance: str) -> str | None: ...  # noqa: D102
    def content(self, study: str) -> StudyContent | None: ...  # noqa: D102
    def announced(self, study: str) -> str: ...  # noqa: D102
    def set_announced(self, study: str, fingerprint: str) -> None: ...  # noqa: D102
    def load_progress(self) -> Progress | None: ...  # noqa: D102
    def save_progress(self, progress: Progress) -> None: ...  # noqa: D102


class Node(Protocol):
    """Who is told."""

    def announce(self, announcement: Announcement) -> None:
        """Raises NodeUnavailableError or NodeRefusedError."""


class Announcer:
    """start() and stop() once each; wake() from any thread, at any time."""

    def __init__(self, host: Host, node: Node, settings: Settings, stable_age: float) -> None:
        """`stable_age` is Orthanc's own setting, in seconds."""
        self._host = host
        self._node = node
        self._settings = settings
        self._window = stable_age + WINDOW_MARGIN_SECONDS
        self._backoff = Backoff(settings.max_retry_seconds)
        self._thread = threading.Thread(target=self._run, name="m3bind-announcer", daemon=True)
        self._wake = threading.Event()
        self._stop = threading.Event()
        # All below belongs to the thread; status() only looks.
        self._backlog: Backlog | None = None
        self._saved: Progress | None = None
        self._refused: dict[str, None] = {}
        self._offer_again_at: float | None = None
        self._catch_up_to = 0
        self._announced = 0
        self._reachable: bool | None = None
        self._last_error: str | None = None
        self._last_error_at: str | None = None

    def start(self) -> None:
        """Begin. Orthanc must be ready for REST calls."""
        self._thread.start()

    def wake(self) -> None:
        """Something became stable."""
        self._wake.set()

    def stop(self) -> None:
        """End, and wait a moment for it. What was not announced yet is announced after the next start."""
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(STOP_SECONDS)

    def status(self) -> dict[str, Any]:
        """For people and monitors. Holds no patient data."""
        backlog = self._backlog
        return {
            "active": True,
            "node": self._settings.node_url,
            "node_reachable": self._reachable,
            "waiting": 0 if backlog is None else len(backlog),
            "refused": len(self._refused),
            "announced_since_start": self._announced,
            "change_log_position": None if backlog is None else backlog.position,
            "last_error": self._last_error,
            "last_error_at": self._last_error_at,
        }

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                pause, signal = self._turn()
            except Exception as error:  # noqa: BLE001 - the rim: the thread must outlive Orthanc's errors
                self._failed(f"{type(error).__name__}: {error}")
                self._host.error(f"unexpected, tried again: {type(error).__name__}: {error}")
                pause, signal = self._backoff.failed(), self._stop
            signal.wait(pause)

    def _turn(self) -> tuple[float, threading.Event]:
        """One round; how long to pause after it, and what may end the pause early."""
        if self._backlog is None:
            self._backlog = self._recover()
        backlog = self._backlog
        self._offer_again(backlog)
        more = self._fill(backlog)
        reached = self._empty(backlog)
        self._save(backlog)
        if not reached:
            return self._backoff.failed(), self._stop
        self._backoff.succeeded()
        return (0.0 if more else IDLE_SECONDS), self._wake

    def _recover(self) -> Backlog:
        """Where to go on from after a start."""
        end = self._host.last_change()
        self._saved = self._host.load_progress()
        if self._saved is None:
            start = 0 if self._settings.announce_existing else end
        else:
            start = min(self._saved.settled, end)
            # What was received before this start will not become stable any more.
            self._catch_up_to = end
            self._refused = dict.fromkeys(self._saved.refused)
        return Backlog(start, self._window)

    def _offer_again(self, backlog: Backlog) -> None:
        now = time.monotonic()
        if self._offer_again_at is None or now >= self._offer_again_at:
            self._offer_again_at = now + OFFER_AGAIN_SECONDS
            for study in self._refused:
                backlog.add(study, backlog.position + 1)

    def _fill(self, backlog: Backlog) -> bool:
        """Read the change log; whether there is more of it than there is room."""
        while len(backlog) < MAX_WAITING and not self._stop.is_set():
            page = self._host.changes(backlog.position, PAGE)
            for change in page.changes:
                study = self._study_to_look_at(change.seq, change.kind, change.resource)
                if study is not None:
                    backlog.add(study, change.seq)
            backlog.read_up_to(page.last, time.monotonic())
            if page.done or not page.changes:
                return False
        return True

    def _study_to_look_at(self, seq: int, kind: str, resource: str) -> str | None:
        if kind == STABLE_STUDY:
            return resource
        if kind == NEW_INSTANCE and seq <= self._catch_up_to:
            return self._host.study_of(resource)
        return None

    def _empty(self, backlog: Backlog) -> bool:
        """Announce what waits, oldest first; False where the node cannot take more for now."""
        while not self._stop.is_set() and (study := backlog.first()) is not None:
            try:
                self._look_at(study)
            except NodeUnavailableError as error:
                self._unreachable(str(error), len(backlog))
                return False
            except NodeRefusedError as error:
                self._answered()
                self._failed(f"the node refused a study: {error}")
                self._host.error(f"the node refused study {study} ({error}); it is offered again later")
                if study not in self._refused and len(self._refused) >= MAX_REFUSED:
                    return False
                self._refused[study] = None
            else:
                self._refused.pop(study, None)
            backlog.remove(study)
        return True

    def _look_at(self, study: str) -> None:
        """Announce a study, unless it is gone, empty but for our own reports, or announced as it is."""
        content = self._host.content(study)
        if content is None or not content.instances:
            return
        mark = fingerprint(content.instances)
        if self._host.announced(study) == mark:
            return
        self._node.announce(
            Announcement(self._settings.archive_name, study, content.study_uid, len(content.instances))
        )
        self._host.set_announced(study, mark)
        self._announced += 1
        self._answered()
        self._host.info(f"announced study {study}, {len(content.instances)} instances")

    def _save(self, backlog: Backlog) -> None:
        progress = Progress(backlog.settled(time.monotonic()), tuple(self._refused))
        if progress != self._saved:
            self._host.save_progress(progress)
            self._saved = progress

    def _answered(self) -> None:
        if self._reachable is False:
            self._host.warn("the node is back")
        self._reachable = True

    def _unreachable(self, why: str, waiting: int) -> None:
        self._failed(f"the node at {self._settings.node_url}: {why}")
        if self._reachable is not False:
            self._host.warn(
                f"the node at {self._settings.node_url} cannot be told of studies ({why}); "
                f"{waiting} wait, and it is tried again"
            )
        self._reachable = False

    def _failed(self, what: str) -> None:
        self._last_error = what
        self._last_error_at = datetime.now(UTC).isoformat(timespec="seconds")
