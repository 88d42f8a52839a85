"""Draws templates: one environment, and what every page says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from dicom_node.facts import DISCLAIMER
from dicom_node.web import views
from dicom_node.web.form import EMPTY, Form
from dicom_node.web.ports import WebPorts
from dicom_node.web.problems import Problem

FOLDER = Path(__file__).parent
PAGES = frozenset({"/", "/search"})
PAGE_PATHS = ("/studies/",)
"""Where an error is drawn for people and not as JSON."""


def is_page(request: Request) -> bool:
    """Whether this request is for a page."""
    path = request.url.path
    return path in PAGES or path.startswith(PAGE_PATHS)


class Drawer:
    """Draws pages with what the ports say of the node."""

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

    def draw(
        self,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        form: Form = EMPTY,
        **values: Any,
    ) -> Response:
        """A page. `form` is what stands in the search box."""
        ready, reason = self._ports.readiness()
        info = self._ports.info()
        page = self._templates.get_template(template).render(
            **values,
            form=form,
            modalities=tuple(dict.fromkeys((*info.modalities, *form.modalities))),
            ready=ready,
            not_ready_reason=reason,
            info=info,
            disclaimer=DISCLAIMER,
        )
        return HTMLResponse(page, status_code=status, headers=dict(headers or {}))

    def problem(self, _request: Request, problem: Problem) -> Response:
        """A problem as a page."""
        return self.draw("problem.html", status=problem.status, headers=problem.headers, problem=problem)
