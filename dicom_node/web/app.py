"""The web application: pages and API over the ports of the node."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from dicom_node.config import LOOPBACK_HOSTS
from dicom_node.web import problems
from dicom_node.web.api import build_router
from dicom_node.web.guard import Doorkeeper, LastResort, SecurityHeaders
from dicom_node.web.pages import FOLDER, Pages, is_page
from dicom_node.web.ports import WebPorts


def create_app(ports: WebPorts, allowed_hosts: Sequence[str] = LOOPBACK_HOSTS) -> FastAPI:
    """The application; `allowed_hosts` as in `guard.Doorkeeper`. Asks nothing of `ports` before a request."""
    app = FastAPI(
        title="M3Bind PACS",
        summary="Zero-shot findings for DICOM studies. Not a medical device.",
        version="1",
        docs_url=None,  # both load scripts from other sites
        redoc_url=None,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(LastResort),
            Middleware(Doorkeeper, allowed_hosts=allowed_hosts),
        ],
    )
    pages = Pages(ports)
    app.include_router(build_router(ports))
    app.include_router(pages.router())
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    problems.install(app, pages.problem, is_page)
    return app
