"""`/m3bind/...` in Orthanc: what the node knows, for people and programs that are at Orthanc already.

    GET /m3bind/search?q=&modality=&date=&similar_to=&limit=
    GET /m3bind/studies/{Orthanc id}/similar?limit=
    GET /m3bind/studies/{Orthanc id}/findings

The answers are the node's (docs/API.md). Each study in them has one more field, `orthanc_id`: null where
Orthanc does not hold it. Errors are problem documents (RFC 9457), the node's own or one of these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from orthanc_plugin.find_archive import FindArchive
from orthanc_plugin.node_client import NodeAnswer, NodeUnavailableError

SEARCH = "/m3bind/search"
OF_STUDY = "/m3bind/studies/([0-9a-f-]+)/(similar|findings)"
"""Regular expressions, as Orthanc wants them."""
PARAMETERS = ("q", "modality", "date", "similar_to", "limit")
LONGEST = 2_000
"""Characters of a parameter; the node's own limits are narrower."""
MOST = 50
"""Studies in one answer: each is looked up in Orthanc's database."""


class Node(Protocol):
    """Who is asked."""

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> NodeAnswer:
        """Raises NodeUnavailableError."""


@dataclass(frozen=True)
class Reply:
    """What is answered to a request."""

    status: int
    document: Mapping[str, Any]

    @property
    def body(self) -> str:
        """The document as JSON, in ASCII."""
        return json.dumps(self.document)


def problem(status: int, detail: str) -> Reply:
    """Of our own."""
    return Reply(status, {"type": "about:blank", "status": status, "detail": detail})


class Routes:
    """The routes; `unknown` is the exception that Orthanc raises for a resource that it does not have."""

    def __init__(self, node: Node, archive: Callable[[], FindArchive], unknown: type[Exception]) -> None:
        self._node = node
        self._archive = archive
        self._unknown = unknown

    def reply(self, path: str, parameters: Mapping[str, str]) -> Reply:
        """To GET `path`."""
        of_study = re.fullmatch(OF_STUDY, path)
        try:
            if of_study is None:
                return self._search(parameters)
            study_uid = self._archive().resource("Study", of_study[1]).tags["StudyInstanceUID"]
            if of_study[2] == "similar":
                return self._search({**parameters, "similar_to": study_uid})
            return self._plain(f"/api/studies/{study_uid}/findings")
        except NodeUnavailableError as error:
            return problem(503, f"The M3Bind node does not answer: {error}. Orthanc itself works as ever.")
        except self._unknown:
            return problem(404, "Orthanc has no such study.")

    def _search(self, parameters: Mapping[str, str]) -> Reply:
        unknown = sorted(set(parameters) - set(PARAMETERS))
        if unknown or any(len(value) > LONGEST for value in parameters.values()):
            return problem(400, f"Ask with {', '.join(PARAMETERS)}, each at most {LONGEST} characters long.")
        limit = parameters.get("limit", "20")
        if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MOST:
            return problem(400, f"limit is a number from 1 to {MOST}.")
        # Orthanc leaves a form's plus signs as they are.
        asked = {name: value.replace("+", " ") for name, value in parameters.items()}
        reply = self._plain("/api/search", {**asked, "limit": limit})
        if reply.status >= 400:
            return reply
        archive = self._archive()
        answers = [
            {**answer, "orthanc_id": archive.study_of_uid(str(answer["study_uid"]))}
            for answer in reply.document["answers"][:MOST]
        ]
        return Reply(reply.status, {**reply.document, "answers": answers})

    def _plain(self, path: str, query: Mapping[str, str] | None = None) -> Reply:
        answer = self._node.ask(path, query)
        if answer.status != 200 and answer.status < 400:
            raise NodeUnavailableError(f"status {answer.status}, is NodeUrl right?")
        return Reply(answer.status, answer.document)
