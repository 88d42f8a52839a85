"""The web application: pages and API over the ports of the node."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from dicom_node.config import LOOPBACK_HOSTS
from dicom_node.web import problems
from dicom_node.web.api import build_router
from dicom_node.web.asking import AskingPage
from dicom_node.web.drawing import FOLDER, Drawer, is_page
from dicom_node.web.guard import Doorkeeper, LastResort, SecurityHeaders
from dicom_node.web.pages import Pages
from dicom_node.web.ports import WebPorts
from dicom_node.web.thumbnails import Thumbnails
from dicom_node.web.uploads import Uploads


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
    drawer, uploads = Drawer(ports), Uploads(ports)
    pages = APIRouter(include_in_schema=False)
    Pages(ports, drawer).add_to(pages)
    AskingPage(ports, drawer, uploads).add_to(pages)
    Thumbnails(ports).add_to(pages)
    app.include_router(build_router(ports, uploads.ask))
    app.include_router(pages)
    app.mount("/static", StaticFiles(directory=FOLDER / "static"), name="static")
    problems.install(app, drawer.problem, is_page)
    return app
