"""The search page: a question, and the studies that answer it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import QuestionError
from dicom_node.search.answer import Answer
from dicom_node.web.answers import answer_row, more_of, sources_of, understood
from dicom_node.web.drawing import Drawer
from dicom_node.web.form import EMPTY, LARGEST, Form, form, request_of
from dicom_node.web.ports import WebPorts
from dicom_node.web.search import asker_of, loaded
from dicom_node.web.titles import sizes, titles
from dicom_node.web.uploads import Uploads

EXAMPLES = (
    "pleural effusion, no pneumothorax",
    "women over 60, last month",
    "atrial fibrillation in men",
    "diabetic retinopathy, left eye",
)


class AskingPage:
    """Draws questions and answers."""

    def __init__(self, ports: WebPorts, drawer: Drawer, uploads: Uploads) -> None:
        self._ports = ports
        self._drawer = drawer
        self._uploads = uploads

    def add_to(self, router: APIRouter) -> None:
        """The routes."""
        router.add_api_route("/search", self._search, methods=["GET"], response_class=HTMLResponse)
        router.add_api_route("/search", self._by_file, methods=["POST"], response_class=HTMLResponse)

    def _search(self, request: Request, form: Annotated[Form, Depends(form)]) -> Response:
        if form.is_empty:
            return self._drawer.draw("search.html", form=form, examples=EXAMPLES, answer=None, trouble=None)
        archive = loaded(self._ports)
        try:
            answer = archive.ask(request_of(form), door="web", asker=asker_of(request))
        except QuestionError as error:
            return self._refusal(form, error)
        return self._answers(form, answer)

    async def _by_file(self, request: Request) -> Response:
        """Studies like an object that is sent as the body; it is not kept."""
        body = await request.body()
        return await run_in_threadpool(self._like_file, body, asker_of(request))

    def _like_file(self, body: bytes, asker: str) -> Response:
        asked = request_of(EMPTY)
        answer = self._uploads.ask(body, asked, door="web", asker=asker)
        return self._answers(EMPTY, answer, by_file=True)

    def _answers(self, form: Form, answer: Answer, *, by_file: bool = False) -> Response:
        studies = [hit.row.study_uid for hit in answer.hits]
        records, noticed = self._ports.records(), self._ports.studies().noticed(studies)
        named = titles(records, studies)
        large = sizes(records, studies, sources_of(answer.hits, noticed))
        modalities = self._ports.info().modalities
        return self._drawer.draw(
            "search.html",
            form=form,
            examples=(),
            trouble=None,
            answer=answer,
            by_file=by_file,
            understood=understood(answer.question),
            rows=[answer_row(hit, form, modalities, named, noticed, large) for hit in answer.hits],
            more=None if by_file else more_of(form, len(studies), LARGEST),
        )

    def _refusal(self, form: Form, error: QuestionError) -> Response:
        start, end = error.span or (0, 0)
        parts = (form.q[:start], form.q[start:end], form.q[end:]) if end > start else None
        trouble = {"words": str(error), "parts": parts}
        return self._drawer.draw(
            "search.html", status=422, form=form, examples=EXAMPLES, answer=None, trouble=trouble
        )
