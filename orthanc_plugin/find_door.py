"""C-FIND in Orthanc: ordinary queries as ever, questions in words to the node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from orthanc_plugin import find_archive
from orthanc_plugin.find_archive import FindArchive
from orthanc_plugin.find_ordinary import OrdinaryFind
from orthanc_plugin.find_query import Key, Query, QueryError, semantic_of, tag_of
from orthanc_plugin.find_semantic import Node, SemanticFind
from orthanc_plugin.node_client import NodeUnavailableError


class Api(find_archive.Api, Protocol):
    """The functions of the module `orthanc` that are used here."""

    @property
    def OrthancException(self) -> type[Exception]:  # noqa: N802 - Orthanc's own names, here and below
        """What every function raises: (error code, description)."""

    def LogError(self, message: str, /) -> None:  # noqa: N802
        """For administrators."""


class FindQuery(Protocol):
    """Orthanc's object for a query."""

    def GetFindQuerySize(self) -> int: ...  # noqa: N802, D102
    def GetFindQueryTagGroup(self, index: int, /) -> int: ...  # noqa: N802, D102
    def GetFindQueryTagElement(self, index: int, /) -> int: ...  # noqa: N802, D102
    def GetFindQueryTagName(self, index: int, /) -> str: ...  # noqa: N802, D102
    def GetFindQueryValue(self, index: int, /) -> str: ...  # noqa: N802, D102


class FindAnswers(Protocol):
    """Orthanc's object for what is answered."""

    def FindAddAnswer(self, dicom: bytes, /) -> None: ...  # noqa: N802, D102


class FindDoor:
    """The callback; Orthanc calls it for one query at a time."""

    def __init__(self, api: Api, node: Node, configuration: Mapping[str, Any]) -> None:
        """`configuration` is Orthanc's."""
        self._api = api
        self._semantic = SemanticFind(node)
        self._own_aet = str(configuration.get("DicomAet", "ORTHANC"))
        self._case_sensitive_names = bool(configuration.get("CaseSensitivePN", False))

    def on_find(self, answers: FindAnswers, handed: FindQuery, _issuer: str, called: str) -> None:
        """Answer. Whatever is raised becomes status C000, unable to process, in Orthanc; before that it is
        logged here without a word of the question."""
        try:
            query = read(handed, self._api.OrthancException)
            semantic = semantic_of(query, called)
            ordinary = OrdinaryFind(
                FindArchive(self._api),
                own_aet=self._own_aet,
                case_sensitive_names=self._case_sensitive_names,
            )
            found = (
                ordinary.answers(query) if semantic is None else self._semantic.answers(semantic, ordinary)
            )
            # All or none: what was handed over before an error would not be sent anyway.
            for answer in list(found):
                answers.FindAddAnswer(answer)
        except NodeUnavailableError as error:
            self._api.LogError(f"M3Bind: a question by C-FIND is not answered: the node: {error}")
            raise
        except QueryError as error:
            self._api.LogError(f"M3Bind: a query by C-FIND is not answered: {error}")
            raise


def read(handed: FindQuery, null: type[Exception]) -> Query:
    """The query. `null` is what Orthanc raises for the value of an element that has none."""
    keys = []
    for index in range(handed.GetFindQuerySize()):
        try:
            value = handed.GetFindQueryValue(index)
        except null:
            value = ""
        tag = tag_of(handed.GetFindQueryTagGroup(index), handed.GetFindQueryTagElement(index))
        keys.append(Key(tag, handed.GetFindQueryTagName(index), value))
    return Query(tuple(keys))
