"""The list of studies and the page of one: whole without script; `static/refresh.js` keeps them fresh."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from dicom_node.store.states import StudyState
from dicom_node.web import views
from dicom_node.web.answers import Picture, pictures_of_study
from dicom_node.web.api import Before, Limit, State, Uid, known_study, next_page
from dicom_node.web.drawing import Drawer
from dicom_node.web.form import Form
from dicom_node.web.ports import WebPorts
from dicom_node.web.titles import UNKNOWN, sizes, titles

RETRIABLE = frozenset({StudyState.FAILED, StudyState.REFUSED})
"""States in which `Studies.retry` does something."""


class Pages:
    """Draws the pages from what the ports say."""

    def __init__(self, ports: WebPorts, drawer: Drawer) -> None:
        self._ports = ports
        self._draw = drawer.draw

    def add_to(self, router: APIRouter) -> None:
        """The routes."""
        router.add_api_route("/", self._studies, methods=["GET"], response_class=HTMLResponse)
        router.add_api_route("/studies/{uid}", self._study, methods=["GET"], response_class=HTMLResponse)

    def _studies(self, state: State = None, limit: Limit = 50, before: Before = None) -> Response:
        store = self._ports.studies()
        studies = store.list_studies(state=state, limit=limit, before=before)
        reported = [study.study_uid for study in studies if study.state is StudyState.REPORTED]
        noticed = store.noticed(reported)
        named = titles(self._ports.records(), [study.study_uid for study in studies])
        return self._draw(
            "studies.html",
            rows=[
                (
                    study,
                    named.get(study.study_uid, UNKNOWN),
                    views.chips(noticed.get(study.study_uid, ())),
                )
                for study in studies
            ],
            troubled=store.troubled_fetches(),
            counts=store.counts(),
            state=state,
            before=before,
            next_query=next_page(studies, state, limit),
        )

    def _study(self, uid: Uid) -> Response:
        store, records = self._ports.studies(), self._ports.records()
        study = known_study(store, uid)
        assessment = store.assessment(uid)
        pictures: tuple[Picture, ...] = ()
        if assessment is not None:
            places = [place for finding in assessment["findings"] for place in finding["evidence"]]
            sources = [place["source"]["sop_instance_uid"] for place in places]
            pictures = pictures_of_study(uid, assessment, sizes(records, [uid], sources))
        return self._draw(
            "study.html",
            study=study,
            title=titles(records, [uid]).get(uid, UNKNOWN),
            can_retry=study.state in RETRIABLE,
            assessment=assessment,
            pictures=pictures,
            like=Form(similar_to=uid).address(),
            findings=() if assessment is None else views.finding_rows(assessment["findings"]),
            deliveries=store.deliveries(uid),
        )
