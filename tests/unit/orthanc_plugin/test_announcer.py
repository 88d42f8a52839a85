"""The announcer against an archive in memory; tests/integration holds the same against a real Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orthanc_plugin.announcer import PAGE, Announcer
from orthanc_plugin.events import (
    NEW_INSTANCE,
    STABLE_STUDY,
    Change,
    ChangePage,
    Progress,
    StudyContent,
    parse_progress,
)
from orthanc_plugin.node_client import Announcement, NodeRefusedError, NodeUnavailableError
from orthanc_plugin.settings import Settings
from tests.support.waiting import wait_until


class Archive:
    """What Orthanc keeps: instances by study, a change log, metadata and one property."""

    def __init__(self) -> None:
        self.studies: dict[str, list[str]] = {}
        self.log: list[Change] = []
        self.metadata: dict[str, str] = {}
        self.property = ""
        self.lines: list[str] = []
        self.broken = False

    def store(self, study: str, *instances: str) -> None:
        self.studies.setdefault(study, []).extend(instances)
        for instance in instances:
            self._change(NEW_INSTANCE, instance)

    def stable(self, study: str) -> None:
        self._change(STABLE_STUDY, study)

    def _change(self, kind: str, resource: str) -> None:
        self.log.append(Change(len(self.log) + 1, kind, resource))

    def info(self, message: str) -> None:
        self.lines.append(message)

    warn = error = info

    def changes(self, since: int, limit: int) -> ChangePage:
        if self.broken:
            raise RuntimeError("database is locked")
        page = self.log[since : since + limit]
        return ChangePage(tuple(page), since + len(page), since + len(page) >= len(self.log))

    def last_change(self) -> int:
        return len(self.log)

    def study_of(self, instance: str) -> str | None:
        return next((study for study, held in self.studies.items() if instance in held), None)

    def content(self, study: str) -> StudyContent | None:
        held = self.studies.get(study)
        return None if held is None else StudyContent(f"uid-{study}", tuple(sorted(held)))

    def announced(self, study: str) -> str:
        return self.metadata.get(study, "")

    def set_announced(self, study: str, fingerprint: str) -> None:
        self.metadata[study] = fingerprint

    def load_progress(self) -> Progress | None:
        return parse_progress(self.property)

    def save_progress(self, progress: Progress) -> None:
        self.property = progress.to_text()


class Node:
    def __init__(self) -> None:
        self.told: list[str] = []
        self.verdict: Callable[[str], None] = lambda _study: None

    def announce(self, announcement: Announcement) -> None:
        self.verdict(announcement.study)
        self.told.append(announcement.study)


@contextmanager
def running(archive: Archive, node: Node, **settings: bool) -> Iterator[Announcer]:
    chosen = Settings(max_retry_seconds=0.05, **settings)  # type: ignore[arg-type]
    announcer = Announcer(archive, node, chosen, stable_age=0.0)
    announcer.start()
    wait_until(lambda: announcer.status()["change_log_position"] is not None, "first look at the log", 5.0)
    try:
        yield announcer
    finally:
        announcer.stop()


def read(announcer: Announcer, archive: Archive) -> None:
    announcer.wake()
    wait_until(lambda: announcer.status()["change_log_position"] == len(archive.log), "end of the log", 5.0)
    wait_until(lambda: announcer.status()["waiting"] == 0, "empty queue", 5.0)


def test_a_log_of_many_pages_is_read_to_its_end() -> None:
    archive, node = Archive(), Node()
    studies = [f"s{n}" for n in range(2 * PAGE)]
    with running(archive, node) as announcer:
        for study in studies:
            archive.store(study, f"{study}-1")
            archive.stable(study)
        read(announcer, archive)
    assert node.told == studies


def test_while_it_runs_an_instance_alone_announces_nothing() -> None:
    archive, node = Archive(), Node()
    with running(archive, node) as announcer:
        archive.store("a", "a1")
        read(announcer, archive)
    assert node.told == []


def test_after_a_restart_instances_that_never_became_stable_count() -> None:
    archive, node = Archive(), Node()
    with running(archive, node):
        pass
    archive.store("a", "a1", "a2")
    with running(archive, node) as announcer:
        read(announcer, archive)
    assert node.told == ["a"]


def test_a_deleted_study_is_passed_over() -> None:
    archive, node = Archive(), Node()
    with running(archive, node) as announcer:
        archive.stable("gone")
        read(announcer, archive)
        assert announcer.status()["last_error"] is None
    assert node.told == []


def test_a_replayed_log_announces_nothing_twice() -> None:
    archive, node = Archive(), Node()
    with running(archive, node) as announcer:
        archive.store("a", "a1")
        archive.stable("a")
        read(announcer, archive)
    assert parse_progress(archive.property) == Progress(0)
    with running(archive, node) as announcer:
        read(announcer, archive)
    assert node.told == ["a"]


def test_while_the_node_is_down_nothing_is_lost_and_it_is_said_once() -> None:
    archive, node = Archive(), Node()
    tries: list[str] = []

    def down(study: str) -> None:
        tries.append(study)
        raise NodeUnavailableError("no answer")

    node.verdict = down
    with running(archive, node) as announcer:
        archive.store("a", "a1")
        archive.stable("a")
        announcer.wake()
        wait_until(lambda: len(tries) >= 3, "third attempt", 5.0)
        status = announcer.status()
        assert (status["node_reachable"], status["waiting"]) == (False, 1)
        node.verdict = lambda _study: None
        read(announcer, archive)
    assert node.told == ["a"]
    assert sum("cannot be told" in line for line in archive.lines) == 1


def test_too_many_refusals_stop_everything_instead_of_losing_studies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orthanc_plugin.announcer.MAX_REFUSED", 2)
    archive, node = Archive(), Node()

    def refuse(_study: str) -> None:
        raise NodeRefusedError("status 422")

    node.verdict = refuse
    with running(archive, node) as announcer:
        for study in ("a", "b", "c", "d"):
            archive.store(study, f"{study}1")
            archive.stable(study)
        announcer.wake()
        wait_until(lambda: announcer.status()["refused"] == 2, "two refusals", 5.0)
        wait_until(lambda: announcer.status()["waiting"] == 2, "two that wait", 5.0)
        node.verdict = lambda _study: None
        wait_until(lambda: announcer.status()["waiting"] == 0, "empty queue", 5.0)
        assert node.told == ["c", "d"]
    with running(archive, node) as announcer:
        read(announcer, archive)
        assert announcer.status()["refused"] == 0
    assert sorted(node.told) == ["a", "b", "c", "d"]


def test_an_error_in_the_archive_is_survived() -> None:
    archive, node = Archive(), Node()
    with running(archive, node) as announcer:
        archive.store("a", "a1")
        archive.stable("a")
        archive.broken = True
        announcer.wake()
        wait_until(lambda: announcer.status()["last_error"] is not None, "error", 5.0)
        assert "database is locked" in announcer.status()["last_error"]
        archive.broken = False
        read(announcer, archive)
    assert node.told == ["a"]


def test_it_can_be_stopped_before_it_was_started() -> None:
    Announcer(Archive(), Node(), Settings(), stable_age=1.0).stop()
