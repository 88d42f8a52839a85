"""Studies like an object that is sent along: judged while the sender waits, and not kept."""

from __future__ import annotations

import threading
from dataclasses import replace

from dicom_node.search.answer import Answer, Request
from dicom_node.web.ports import WebPorts
from dicom_node.web.problems import Problem, ProblemError
from dicom_node.web.search import loaded

WAIT_SECONDS = 20.0


class Uploads:
    """One object at a time: an encoder takes all cores, and studies come first."""

    def __init__(self, ports: WebPorts) -> None:
        self._ports = ports
        self._seat = threading.Lock()

    def ask(self, body: bytes, request: Request, *, door: str, asker: str) -> Answer:
        """The answer to `request` with the object as its example.

        Raises InputError, OutOfScopeError, QuestionError, InferenceError, DatabaseUnavailableError.
        """
        archive = loaded(self._ports)
        if not body:
            raise ProblemError(Problem(422, "no-object", "Send a DICOM file as the body of the request."))
        if not self._seat.acquire(timeout=WAIT_SECONDS):
            words = "Another object is being looked at. Send it again shortly."
            raise ProblemError(Problem(503, "busy-looking", words, headers={"Retry-After": "5"}))
        try:
            seen = tuple(self._ports.look(body))
        finally:
            self._seat.release()
        return archive.ask(replace(request, seen=seen), door=door, asker=asker)
