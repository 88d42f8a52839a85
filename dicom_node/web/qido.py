"""QIDO-RS (PS3.18 section 10.6): studies, series and instances by their attributes; studies and series in
words, or by example, too.

    address --> Address --> Query --> register, a row at a time --> DICOM JSON
                        `-> question --> search, best first ---'
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as PathParameter
from fastapi.responses import JSONResponse

from dicom_node.errors import QuestionError
from dicom_node.matching.attributes import Attributes, texts
from dicom_node.matching.found import Match, match_of, matches
from dicom_node.matching.keys import INSTANCE_AVAILABILITY, KEYS, RETRIEVE_AE_TITLE, Level
from dicom_node.matching.narrow import MODALITIES_IN_STUDY, MODALITY, ROWS, STUDY_DATE, computed_of
from dicom_node.matching.query import Query, Root, read_query
from dicom_node.matching.times import range_of
from dicom_node.search.answer import MOST, Answer, Hit
from dicom_node.search.answer import Request as Asked
from dicom_node.search.dates import Days
from dicom_node.search.told import BUNDLE, CREATOR, GROUP, SCORE, TAGS, TEXT, tags_of
from dicom_node.store.find_facts import Narrowing
from dicom_node.uids import UID_LENGTH, UID_PATTERN
from dicom_node.web.ports import Records, WebPorts
from dicom_node.web.problems import Problem, ProblemError
from dicom_node.web.qido_address import Address, read_address
from dicom_node.web.search import asker_of, loaded

MEDIA_TYPE = "application/dicom+json"
ACCEPTED = frozenset({MEDIA_TYPE, "application/json", "application/*", "*/*"})
SERVICE = "dicom-node"
READ_SECONDS = 10.0
"""For what has arrived to be read first."""

Uid = Annotated[str, PathParameter(pattern=f"^{UID_PATTERN}$", max_length=UID_LENGTH)]
Found = tuple[Match, Hit | None]


def add_qido(router: APIRouter, ports: WebPorts) -> None:
    """The routes. The keys of an address are told in docs/API.md."""
    desk = QidoDesk(ports)

    @router.get("/dicom-web/studies", tags=["dicom-web"])
    def studies(request: Request) -> JSONResponse:
        """QIDO-RS: studies, the newest first; those that answer a question, the best first."""
        return desk.answer(request, Level.STUDY, {})

    @router.get("/dicom-web/series", tags=["dicom-web"])
    def all_series(request: Request) -> JSONResponse:
        """QIDO-RS: series of all studies."""
        return desk.answer(request, Level.SERIES, {})

    @router.get("/dicom-web/instances", tags=["dicom-web"])
    def all_instances(request: Request) -> JSONResponse:
        """QIDO-RS: objects of all studies."""
        return desk.answer(request, Level.IMAGE, {})

    @router.get("/dicom-web/studies/{study}/series", tags=["dicom-web"])
    def series(request: Request, study: Uid) -> JSONResponse:
        """QIDO-RS: series of a study."""
        return desk.answer(request, Level.SERIES, {Level.STUDY: study})

    @router.get("/dicom-web/studies/{study}/instances", tags=["dicom-web"])
    def instances(request: Request, study: Uid) -> JSONResponse:
        """QIDO-RS: objects of a study."""
        return desk.answer(request, Level.IMAGE, {Level.STUDY: study})

    @router.get("/dicom-web/studies/{study}/series/{series}/instances", tags=["dicom-web"])
    def instances_of_series(request: Request, study: Uid, series: Uid) -> JSONResponse:
        """QIDO-RS: objects of a series."""
        return desk.answer(request, Level.IMAGE, {Level.STUDY: study, Level.SERIES: series})


class QidoDesk:
    """Answers queries."""

    def __init__(self, ports: WebPorts) -> None:
        self._ports = ports

    def answer(self, request: Request, level: Level, within: Mapping[Level, str | None]) -> JSONResponse:
        """One query. Raises ProblemError, DatabaseUnavailableError, InferenceError."""
        _check_accept(request)
        try:
            address = read_address(request.query_params.multi_items(), level, within)
            query = read_query(address.keys, level, Root.STUDY, address.rules)
            found, more = self._found(address, query, asker_of(request))
        except QuestionError as error:
            span = None if error.span is None else list(error.span)
            extra = {"reason": error.reason, "span": span}
            raise ProblemError(Problem(400, "unfit-query", str(error), extra)) from error
        results = [self._result(address, match, hit) for match, hit in found]
        return JSONResponse(results, media_type=MEDIA_TYPE, headers=_warnings(address, query, more))

    def _found(self, address: Address, query: Query, asker: str) -> tuple[list[Found], bool]:
        """The results wanted, and whether there are more."""
        deadline = time.monotonic() + READ_SECONDS
        self._ports.catch_up(lambda: time.monotonic() > deadline)
        records = self._ports.records()
        last = address.offset + address.limit
        if address.text or address.similar_to:
            asked = _asked(address, query)
            answer = loaded(self._ports).ask(asked, door="qido", asker=asker)
            told = list(islice(_hits_that_match(records, query, answer), last + 1))
        else:
            with matches(records, query) as rows:
                told = [(match, None) for match in islice(rows, address.offset, last + 1)]
            keywords = sorted(KEYS[tag].keyword for tag in query.matchers)
            shown = min(len(told), address.limit)
            detail = {"door": "qido", "asker": asker, "level": query.level.name, "keys": keywords}
            records.note_asked("query.answered", **detail, answers=shown)
            return told[: address.limit], len(told) > address.limit
        return told[address.offset : last], len(told) > last

    def _result(self, address: Address, match: Match, hit: Hit | None) -> Attributes:
        """One result in the DICOM JSON model (PS3.18 annex F)."""
        title = self._ports.retrieve_ae(match.row.origin)
        told: Attributes = {
            **match.told,
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            # PS3.3 section C.4.23.1.1: UNAVAILABLE is what cannot be retrieved
            INSTANCE_AVAILABILITY: {"vr": "CS", "Value": ["ONLINE" if title else "UNAVAILABLE"]},
        }
        if title is not None:
            told[RETRIEVE_AE_TITLE] = {"vr": "AE", "Value": [title]}
        if hit is not None:
            told |= self._private(address, hit)
        return dict(sorted(told.items()))

    def _private(self, address: Address, hit: Hit) -> Attributes:
        def tag(element: int) -> str:
            return f"{GROUP:04X}{address.block:02X}{element:02X}"

        bundle = self._ports.info().bundle
        told: Attributes = {f"{GROUP:04X}00{address.block:02X}": {"vr": "LO", "Value": [CREATOR]}}
        if address.text:
            told[tag(TEXT)] = {"vr": "LT", "Value": [address.text]}
        if hit.score is not None:
            told[tag(SCORE)] = {"vr": "FD", "Value": [hit.score]}
        told[tag(TAGS)] = {"vr": "LO", "Value": tags_of(hit)}
        if bundle is not None:
            told[tag(BUNDLE)] = {"vr": "LO", "Value": [f"{bundle.name} {bundle.version}"]}
        return told


def _asked(address: Address, query: Query) -> Asked:
    """The question, with those of the other keys that the index can filter by; all of them are looked at
    again in what it answers. Raises QuestionError at the level of instances."""
    if query.level is Level.IMAGE:
        raise QuestionError("wrong-level", "Ask in words for studies or for series.")
    named = [v for tag in (MODALITIES_IN_STUDY, MODALITY) for v in texts(query.keys.get(tag)) if v]
    days = range_of(" ".join(texts(query.keys.get(STUDY_DATE))), "DA")
    first, last = (None, None) if days is None else (days.first, days.last)
    return Asked(
        text=address.text,
        modalities=() if any(set(value) & set("*?") for value in named) else tuple(dict.fromkeys(named)),
        days=None
        if first is None and last is None
        else Days(None if first is None else first.date(), None if last is None else last.date()),
        similar_to=address.similar_to,
        limit=MOST,
    )


def _hits_that_match(records: Records, query: Query, answer: Answer) -> Iterator[Found]:
    """The answers that fulfil the other keys too, best first."""
    by_series = query.level is Level.SERIES
    studies = tuple(hit.row.study_uid for hit in answer.hits)
    if not studies:
        return
    series = tuple(hit.row.series_uid for hit in answer.hits if hit.row.series_uid is not None)
    narrowing = Narrowing(study_uids=studies, series_uids=series if by_series else ())
    with records.rows(ROWS[query.level], narrowing, computed_of(query)) as rows:
        matched = {row.study_uid: match for row in rows if (match := match_of(query, row)) is not None}
    for hit in answer.hits:
        if hit.row.study_uid in matched:
            yield matched[hit.row.study_uid], hit


def _check_accept(request: Request) -> None:
    told = request.headers.get("accept", "*/*")
    wanted = {part.partition(";")[0].strip().lower() for part in told.split(",")}
    if not wanted & ACCEPTED:
        words = f"Results come as {MEDIA_TYPE} alone; name it in Accept."
        raise ProblemError(Problem(406, "not-acceptable", words))


def _warnings(address: Address, query: Query, more: bool) -> dict[str, str]:
    """What was not done as asked (PS3.18 section 10.6.3)."""
    told = []
    if address.fuzzy:
        told.append("The fuzzymatching parameter is not supported. Only literal matching has been performed.")
    if more:
        told.append("There are additional results that can be requested; use offset.")
    if query.unsupported:
        told.append(f"These attributes are neither matched nor told: {', '.join(query.unsupported)}")
    return {"Warning": ", ".join(f'299 {SERVICE} "{words}"' for words in told)} if told else {}
