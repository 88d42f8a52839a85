"""A C-FIND that asks in words or by example: the node says which studies, Orthanc what is told of them."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from orthanc_plugin.find_archive import appended
from orthanc_plugin.find_ordinary import OrdinaryFind
from orthanc_plugin.find_query import (
    BUNDLE,
    CREATOR,
    GROUP,
    MODALITIES_IN_STUDY,
    MODALITY,
    SCORE,
    SERIES_UID,
    SIMILAR,
    STUDY_DATE,
    STUDY_UID,
    TAGS,
    TEXT,
    Query,
    QueryError,
    Semantic,
)
from orthanc_plugin.node_client import NodeAnswer, NodeUnavailableError

MOST = 200
"""Answers to one question; the node gives no more."""
LO_LENGTH = 64
LT_LENGTH = 10_240
PAUSE_SECONDS = 10.0
"""For so long after the node was found away, questions are refused without asking: Orthanc answers one
C-FIND at a time where a plugin does, so every vain wait holds up the ordinary ones."""
DAYS = re.compile(r"\d{8}|\d{8}-(\d{8})?|-\d{8}")
"""A DA, or a range of them."""
CODES = re.compile(r"[A-Za-z0-9_]{1,32}(\\[A-Za-z0-9_]{1,32})*")


class Node(Protocol):
    """Who is asked."""

    def ask(self, path: str, query: Mapping[str, str] | None = None) -> NodeAnswer:
        """Raises NodeUnavailableError."""


class SemanticFind:
    """Questions to the node; one object for all queries."""

    def __init__(self, node: Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._node = node
        self._clock = clock
        self._not_before = 0.0

    def answers(self, semantic: Semantic, ordinary: OrdinaryFind) -> Iterator[bytes]:
        """Data sets, best first. Raises QueryError, NodeUnavailableError, and what Orthanc raises."""
        level = semantic.rest.level
        if level not in ("Study", "Series"):
            raise QueryError("ask in words at level STUDY or SERIES")
        hits = self._hits(semantic, level)
        for place, tag in enumerate((STUDY_UID, SERIES_UID)):
            wanted = semantic.rest.get(tag)
            if wanted and not (level == "Study" and tag == SERIES_UID):
                hits = {uids: hit for uids, hit in hits.items() if uids[place] in wanted.split("\\")}
        if not hits:
            return
        narrowed = _narrowed(semantic.rest, level, hits)
        found = {ordinary.uids(level, match.id): match for match in ordinary.matches(narrowed)}
        bundle = self._bundle() if semantic.block is not None and any(u in found for u in hits) else ""
        for uids, hit in hits.items():
            if uids in found:
                made = ordinary.answer(semantic.rest, found[uids], character_set="ISO_IR 192")
                yield made if semantic.block is None else appended(made, _block(semantic, hit, bundle))

    def _hits(self, semantic: Semantic, level: str) -> dict[tuple[str, str], Mapping[str, Any]]:
        """What the node found, best first, by Study and (at that level) Series Instance UID."""
        answer = self._ask("/api/search", _params(semantic))
        if answer.status >= 400:
            # The node's own words may quote the question, and these go into a log.
            raise QueryError(f"the node cannot use it: {answer.document.get('reason') or answer.status}")
        try:
            return {
                (str(hit["study_uid"]), str(hit["series_uid"] or "") if level == "Series" else ""): hit
                for hit in answer.document["answers"]
            }
        except (KeyError, TypeError) as error:
            raise NodeUnavailableError("an answer that this plugin does not understand") from error

    def _ask(self, path: str, params: Mapping[str, str] | None = None) -> NodeAnswer:
        if self._clock() < self._not_before:
            raise NodeUnavailableError(f"it was away less than {PAUSE_SECONDS:.0f} s ago")
        try:
            return self._node.ask(path, params)
        except NodeUnavailableError:
            self._not_before = self._clock() + PAUSE_SECONDS
            raise

    def _bundle(self) -> str:
        told = self._ask("/health").document.get("bundle")
        return f"{told['name']} {told['version']}"[:LO_LENGTH] if isinstance(told, dict) else ""


def _params(semantic: Semantic) -> dict[str, str]:
    """The question, with those of the other keys that the node can filter by; Orthanc looks at all of them
    again in what the node answers."""
    rest = semantic.rest
    params = {"limit": str(MOST)}
    if semantic.text:
        params["q"] = semantic.text
    if semantic.similar_to:
        params["similar_to"] = semantic.similar_to
    modalities = rest.get(MODALITIES_IN_STUDY) or rest.get(MODALITY)
    if CODES.fullmatch(modalities):
        params["modality"] = modalities.replace("\\", ",")
    if DAYS.fullmatch(rest.get(STUDY_DATE)):
        params["date"] = rest.get(STUDY_DATE)
    return params


def _narrowed(rest: Query, level: str, hits: Mapping[tuple[str, str], Any]) -> Query:
    """The other keys, asked of the hits alone. UIDs are matched by Orthanc as a list."""
    named = rest.without((STUDY_UID, SERIES_UID) if level == "Series" else (STUDY_UID,))
    asked = [(STUDY_UID, "\\".join(dict.fromkeys(study for study, _ in hits)))]
    if level == "Series":
        asked.append((SERIES_UID, "\\".join(series for _, series in hits)))
    return named.extended(asked)


def _block(semantic: Semantic, hit: Mapping[str, Any], bundle: str) -> list[tuple[int, int, str, bytes]]:
    """The private elements of an answer, in order."""
    block = semantic.block or 0x10
    told = [
        (TEXT, "LT", semantic.text[:LT_LENGTH].encode("utf-8")),
        (TAGS, "LO", "\\".join(tag[:LO_LENGTH] for tag in tags_of(hit)).encode("utf-8")),
        (SIMILAR, "UI", semantic.similar_to.encode("ascii", "replace")),
        (BUNDLE, "LO", bundle.encode("utf-8")),
    ]
    score = hit.get("score")
    if isinstance(score, (int, float)):
        told.insert(1, (SCORE, "FD", struct.pack("<d", score)))
    elements = [(GROUP, block, "LO", CREATOR.encode("ascii"))]
    return elements + [(GROUP, block << 8 | element, vr, value) for element, vr, value in told if value]


def tags_of(hit: Mapping[str, Any]) -> list[str]:
    """What speaks for an answer: `Pneumothorax: absent 0.02`, `similarity 0.83`."""
    similarity = hit.get("similarity")
    told = [f"similarity {similarity:.2f}"] if isinstance(similarity, (int, float)) else []
    for why in hit.get("why", ()):
        if why["probability"] is not None and why["presence"] is not None:
            told.append(f"{why['name']}: {why['presence']} {why['probability']:.2f}")
        else:
            words = str(why["statement"]).replace("\\", "/")
            told.append(f"{words[:40]}: likeness {why['likeness']:+.1f}")
    return told
