"""The pages for people: whole without script; `static/refresh.js` only keeps them fresh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dicom_node.facts import DISCLAIMER
from dicom_node.store.states import StudyState
from dicom_node.web import views
from dicom_node.web.api import Before, Limit, State, Uid, known_study, next_page
from dicom_node.web.ports import WebPorts
from dicom_node.web.problems import Problem

FOLDER = Path(__file__).parent
PAGE_PATHS = ("/studies/",)
"""Besides `/` itself: where an error is drawn for people and not as JSON."""
RETRIABLE = frozenset({StudyState.FAILED, StudyState.REFUSED})
"""States in which `Studies.retry` does something."""


def is_page(request: Request) -> bool:
    """Whether this request is for a page."""
    path = request.url.path
    return path == "/" or path.startswith(PAGE_PATHS)


class Pages:
    """Draws the pages from what the ports say."""

    def __init__(self, ports: WebPorts) -> None:
        self._ports = ports
        self._templates = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["stamp"] = views.stamp
        self._templates.filters["modality"] = views.modality_name

    def router(self) -> APIRouter:
        """All pages; they are left out of the OpenAPI document."""
        router = APIRouter(include_in_schema=False)
        router.add_api_route("/", self._studies, methods=["GET"], response_class=HTMLResponse)
        router.add_api_route("/studies/{uid}", self._study, methods=["GET"], response_class=HTMLResponse)
        return router

    def problem(self, _request: Request, problem: Problem) -> Response:
        """A problem as a page."""
        return self._draw("problem.html", status=problem.status, headers=problem.headers, problem=problem)

    def _studies(self, state: State = None, limit: Limit = 50, before: Before = None) -> Response:
        store = self._ports.studies()
        studies = store.list_studies(state=state, limit=limit, before=before)
        reported = [study.study_uid for study in studies if study.state is StudyState.REPORTED]
        noticed = store.noticed(reported)
        return self._draw(
            "studies.html",
            rows=[(study, views.chips(noticed.get(study.study_uid, ()))) for study in studies],
            troubled=store.troubled_fetches(),
            counts=store.counts(),
            state=state,
            before=before,
            next_query=next_page(studies, state, limit),
        )

    def _study(self, uid: Uid) -> Response:
        store = self._ports.studies()
        study = known_study(store, uid)
        assessment = store.assessment(uid)
        return self._draw(
            "study.html",
            study=study,
            can_retry=study.state in RETRIABLE,
            assessment=assessment,
            findings=() if assessment is None else views.finding_rows(assessment["findings"]),
            deliveries=store.deliveries(uid),
        )

    def _draw(
        self, template: str, status: int = 200, headers: Mapping[str, str] | None = None, **values: Any
    ) -> Response:
        ready, reason = self._ports.readiness()
        page = self._templates.get_template(template).render(
            **values,
            ready=ready,
            not_ready_reason=reason,
            info=self._ports.info(),
            disclaimer=DISCLAIMER,
        )
        return HTMLResponse(page, status_code=status, headers=dict(headers or {}))
