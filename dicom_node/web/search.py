"""`/api/search`: questions in words, by example or by an object, and how an Answer becomes JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool

from dicom_node.facts import DISCLAIMER
from dicom_node.search.answer import MOST, Answer, Hit
from dicom_node.search.answer import Request as Asked
from dicom_node.search.query import LONGEST
from dicom_node.search.question import Question, Statement
from dicom_node.search.rank import Judged
from dicom_node.uids import UID_LENGTH, UID_PATTERN
from dicom_node.web.form import modalities_of, sexes_of, years_of
from dicom_node.web.ports import Search, WebPorts
from dicom_node.web.problems import Problem, ProblemError

Words = Annotated[str, Query(max_length=LONGEST, description="The question, in English")]
Modalities = Annotated[
    str, Query(max_length=200, description="Modality ids or DICOM codes, separated by commas")
]
Sexes = Annotated[str, Query(max_length=100, description="F, M or O, separated by commas")]
Ages = Annotated[
    str,
    Query(pattern=r"^([0-9]{1,3}-?|[0-9]{0,3}-[0-9]{1,3})?$", description="Years: 40-50, 60-, -18 or 71"),
]
Dates = Annotated[str, Query(max_length=100, description="Study date or range of dates")]
Example = Annotated[
    str | None,
    Query(pattern=f"^{UID_PATTERN}$", max_length=UID_LENGTH, description="Study or Series Instance UID"),
]
Limit = Annotated[int, Query(ge=1, le=MOST)]
OBJECT_BODY = {"requestBody": {"required": True, "content": {"application/dicom": {}}}}


class ByObject(Protocol):
    """Asks with an object as the example; `uploads.Uploads.ask` is one."""

    def __call__(self, body: bytes, request: Asked, *, door: str, asker: str) -> Answer:
        """The answer."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What an address asks."""

    q: str
    modality: str
    date: str
    sex: str
    age: str
    similar_to: str | None
    limit: int

    def asked(self, archive: Search, known: Sequence[str]) -> Asked:
        """The question; `known` are the modalities of the bundle. Raises QuestionError."""
        least, dash, most = self.age.partition("-")
        return Asked(
            text=self.q,
            modalities=modalities_of(self.modality, known),
            days=archive.days(self.date) if self.date.strip() else None,
            sexes=sexes_of(self.sex),
            years=years_of(least, most if dash else least),
            similar_to=self.similar_to,
            limit=self.limit,
        )


def fields(
    q: Words = "",
    modality: Modalities = "",
    date: Dates = "",
    sex: Sexes = "",
    age: Ages = "",
    similar_to: Example = None,
    limit: Limit = 20,
) -> Fields:
    """The fields of a request; FastAPI calls it."""
    return Fields(q, modality, date, sex, age, similar_to, limit)


def add_search(router: APIRouter, ports: WebPorts, by_object: ByObject) -> None:
    """The routes that ask the archive."""

    @router.get("/api/search", tags=["search"])
    def search(request: Request, fields: Annotated[Fields, Depends(fields)]) -> dict[str, Any]:
        """Studies that answer a question in words, or that are like another; the best first, and why."""
        archive = loaded(ports)
        asked = fields.asked(archive, ports.info().modalities)
        return answer_to_json(archive.ask(asked, door="http", asker=asker_of(request)))

    @router.post("/api/search", tags=["search"], openapi_extra=OBJECT_BODY)
    async def search_by_object(
        request: Request, fields: Annotated[Fields, Depends(fields)]
    ) -> dict[str, Any]:
        """Studies like the DICOM file in the body, which is looked at in memory and not kept."""
        asked = fields.asked(loaded(ports), ports.info().modalities)
        body = await request.body()
        answer = await run_in_threadpool(by_object, body, asked, door="http", asker=asker_of(request))
        return answer_to_json(answer)


def asker_of(request: Request) -> str:
    """Who asks, for the audit trail."""
    return "unknown" if request.client is None else request.client.host


def loaded(ports: WebPorts) -> Search:
    """The archive, or a 503 problem until the bundle that reads questions is loaded."""
    archive = ports.search()
    if archive is None:
        words = "The bundle that reads questions is not loaded yet. Try again shortly; /health tells when."
        raise ProblemError(Problem(503, "still-warming", words, headers={"Retry-After": "5"}))
    return archive


def answer_to_json(answer: Answer) -> dict[str, Any]:
    """The whole answer. Holds what the objects tell of sex, age and date; no names and no patient ids."""
    return {
        "question": question_to_json(answer.question),
        "answers": [hit_to_json(hit) for hit in answer.hits],
        "notes": list(answer.notes),
        "not_covered": answer.not_covered,
        "disclaimer": DISCLAIMER,
    }


def question_to_json(question: Question) -> dict[str, Any]:
    """How the question was understood: so that whoever asked can see it."""
    wanted = question.wanted
    years, days = wanted.years, wanted.days
    return {
        "all_of": [[_statement(one) for one in group.any_of] for group in question.all_of],
        "wanted": {
            "sexes": list(wanted.sexes),
            "age": None if years is None else {"least": years.least, "below": years.below},
            "date": None
            if days is None
            else {
                "first": None if days.first is None else days.first.isoformat(),
                "last": None if days.last is None else days.last.isoformat(),
            },
            "modalities": [*wanted.modalities, *wanted.codes],
            "not_modalities": list(wanted.not_modalities),
            "body_parts": list(wanted.body_parts),
            "sides": list(wanted.sides),
        },
        "undecided": list(question.undecided),
    }


def hit_to_json(hit: Hit) -> dict[str, Any]:
    """One answer."""
    row = hit.row
    return {
        "study_uid": row.study_uid,
        "series_uid": row.series_uid,
        "modality": row.modality,
        "study_date": None if row.study_date is None else row.study_date.isoformat(),
        "sex": row.sex,
        "age": row.age,
        "body_part": row.body_part,
        "laterality": row.laterality,
        "score": hit.score,
        "by_likeness": hit.by_likeness,
        "similarity": hit.similarity,
        "why": [_judged(judged) for judged in hit.why],
        "regions": [{"finding": region.finding_id, **region.place} for region in hit.regions],
        "not_told": list(hit.silent),
    }


def _statement(statement: Statement) -> dict[str, Any]:
    return {
        "text": statement.text,
        "present": statement.present,
        "findings": list(statement.findings),
        "side": statement.side,
    }


def _judged(judged: Judged) -> dict[str, Any]:
    """A statement, what the node says of it in this study, and the probability that it is as asked."""
    finding = judged.finding
    said = judged.presence
    return {
        "statement": judged.statement.words,
        "finding": None if finding is None else finding.id,
        "name": None if finding is None else finding.name,
        "probability": judged.probability,
        "threshold": None if finding is None or judged.probability is None else finding.threshold,
        "presence": None if said is None else said.value,
        "likeness": round(judged.likeness, 3),
        "holds": judged.holds,
    }
