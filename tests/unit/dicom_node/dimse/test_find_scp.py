"""What the C-FIND handler does about a peer that takes no answers, and about too many at once."""

from __future__ import annotations

import queue
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from dicom_node.dimse import find_scp
from dicom_node.dimse.find_scp import AT_ONCE, QUEUED, Cancel, FindDesk, FindSettings
from dicom_node.errors import M3BindError
from tests.support.waiting import wait_until


class Peer:
    """An association of pynetdicom, as far as the handler looks at it: its queue and its socket."""

    def __init__(self, queued: int) -> None:
        waiting: queue.Queue[int] = queue.Queue()
        for number in range(queued):
            waiting.put(number)
        self.closed = False
        self.is_established = True
        self.requestor = SimpleNamespace(ae_title="SLOW")
        self.dul = SimpleNamespace(to_provider_queue=waiting, socket=SimpleNamespace(close=self._close))

    def _close(self) -> None:
        self.closed = True


def desk(stalled_seconds: float = 0.05) -> FindDesk:
    ports: Any = SimpleNamespace()
    return FindDesk(ports, FindSettings(stalled_seconds=stalled_seconds), structlog.get_logger())


def event(peer: Peer) -> Any:
    return SimpleNamespace(assoc=peer)


def test_a_peer_that_takes_nothing_is_cut_off() -> None:
    stalled, slow = Peer(QUEUED), Peer(QUEUED - 1)
    assert not desk()._sent(event(stalled))
    assert stalled.closed
    assert desk()._sent(event(slow))
    assert not slow.closed


def test_a_peer_that_takes_answers_is_waited_for() -> None:
    peer = Peer(QUEUED)
    done: list[bool] = []
    waiting = threading.Thread(target=lambda: done.append(desk(20)._sent(event(peer))))
    waiting.start()
    for _ in range(QUEUED):
        assert not done
        peer.dul.to_provider_queue.get()
    waiting.join(10)
    assert done == [True]


def test_a_peer_that_is_gone_is_not_waited_for() -> None:
    peer = Peer(QUEUED)
    peer.is_established = False
    assert not desk(20)._sent(event(peer))


def test_no_more_are_answered_at_once_than_there_are_connections_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_scp, "WAIT_SECONDS", 0.01)
    one, leave, inside = desk(), threading.Event(), []

    def sit() -> None:
        with one._seat():
            inside.append(True)
            leave.wait(10)

    seated = [threading.Thread(target=sit) for _ in range(AT_ONCE)]
    for thread in seated:
        thread.start()
    wait_until(lambda: len(inside) == AT_ONCE, "full house")
    with pytest.raises(M3BindError, match="too many queries at once"), one._seat():
        pass
    leave.set()
    for thread in seated:
        thread.join(10)
    with one._seat():
        pass


def test_a_cancel_is_told_once_and_remembered() -> None:
    told = iter([False, True])
    cancel = Cancel(type("Event", (), {"is_cancelled": property(lambda _: next(told, False))})())  # type: ignore[arg-type]
    assert [cancel(), cancel(), cancel()] == [False, True, True]


def test_waiting_for_headers_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find_scp, "READ_SECONDS", 0.05)
    cancel = Cancel(SimpleNamespace(is_cancelled=False))  # type: ignore[arg-type]
    assert not cancel.or_late()
    time.sleep(0.06)
    assert cancel.or_late()
    assert cancel.late
    assert not cancel()
