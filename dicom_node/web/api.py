"""The HTTP interface: JSON for programs. Routes and examples are told in docs/API.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dicom_node.store.states import DeliveryRecord, FetchRecord, FetchState, StudyRecord, StudyState
from dicom_node.uids import UID_LENGTH, UID_PATTERN
from dicom_node.web.ports import NodeInfo, Studies, WebPorts
from dicom_node.web.problems import MEDIA_TYPE, Problem, ProblemError
from dicom_node.web.qido import add_qido
from dicom_node.web.search import ByObject, add_search

WHOLE_UID = f"^{UID_PATTERN}$"
Uid = Annotated[
    str, PathParameter(pattern=WHOLE_UID, max_length=UID_LENGTH, description="Study Instance UID")
]
ArchiveName = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
RESOURCE_PATTERN = r"^[A-Za-z0-9._-]{1,128}$"
Resource = Annotated[
    str, PathParameter(pattern=RESOURCE_PATTERN, description="The archive's own identifier of a study")
]
State = Annotated[StudyState | None, Query(description="Only studies in this state")]
Limit = Annotated[int, Query(ge=1, le=500)]
Before = Annotated[
    AwareDatetime | None, Query(description="Only studies whose last object came before (ISO 8601)")
]


class Announcement(BaseModel):
    """An archive tells that a study is complete there and may be fetched."""

    model_config = ConfigDict(extra="forbid")

    archive: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of a configured archive."""
    study: Annotated[str, Field(pattern=RESOURCE_PATTERN)]
    """The archive's own identifier of the study (Orthanc: its public id)."""
    study_uid: Annotated[str, Field(pattern=WHOLE_UID, max_length=UID_LENGTH)]
    instances: Annotated[int, Field(ge=0)] | None = None
    """How many objects the archive holds, where it knows."""


def study_to_json(study: StudyRecord) -> dict[str, Any]:
    """A study without its findings; times in ISO 8601 with zone."""
    bundle = {"name": study.bundle_name, "version": study.bundle_version, "digest": study.bundle_digest}
    return {
        "study_uid": study.study_uid,
        "state": study.state.value,
        "reason": study.reason,
        "modality": study.modality,
        "archive": study.origin,
        "instances": study.instances,
        "revision": study.revision,
        "first_received": _moment(study.first_received),
        "last_received": _moment(study.last_received),
        "completed_at": _moment(study.completed_at),
        "finished_at": _moment(study.finished_at),
        "bundle": None if study.bundle_name is None else bundle,
        "report_uid": study.report_uid,
    }


def delivery_to_json(delivery: DeliveryRecord) -> dict[str, Any]:
    """One report on its way to one archive."""
    return {
        "report_uid": delivery.report_uid,
        "archive": delivery.destination,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "last_error": delivery.last_error,
        "created_at": _moment(delivery.created_at),
        "delivered_at": _moment(delivery.delivered_at),
    }


def fetch_to_json(fetch: FetchRecord) -> dict[str, Any]:
    """One announced study on its way in from its archive."""
    return {
        "archive": fetch.archive,
        "study": fetch.resource_id,
        "study_uid": fetch.study_uid,
        "instances": fetch.instances,
        "state": fetch.state.value,
        "attempts": fetch.attempts,
        "last_error": fetch.last_error,
        "announced_at": _moment(fetch.announced_at),
        "changed_at": _moment(fetch.changed_at),
    }


def info_to_json(info: NodeInfo) -> dict[str, Any]:
    """What is running here; `bundle` is null until it is loaded."""
    return {
        "version": info.version,
        "bundle": None if info.bundle is None else asdict(info.bundle),
        "providers": list(info.providers),
        "archives": list(info.archives),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def known_study(studies: Studies, study_uid: str) -> StudyRecord:
    """The study, or a 404 problem."""
    study = studies.study(study_uid)
    if study is None:
        raise ProblemError(Problem(404, "unknown-study", f"The node knows no study {study_uid}."))
    return study


def next_page(studies: Sequence[StudyRecord], state: StudyState | None, limit: int) -> str | None:
    """The query string of the page after this one; None where this one is the last."""
    if len(studies) < limit:
        return None
    query = {"limit": str(limit), "before": studies[-1].last_received.isoformat()}
    return urlencode(query if state is None else {"state": state.value, **query})


def build_router(ports: WebPorts, by_object: ByObject) -> APIRouter:
    """All routes for programs."""
    router = APIRouter(
        responses={"default": {"description": "Problem (RFC 9457)", "content": {MEDIA_TYPE: {}}}}
    )
    _add_reading(router, ports)
    _add_results(router, ports)
    _add_doing(router, ports)
    _add_fetches(router, ports)
    add_search(router, ports, by_object)
    add_qido(router, ports)
    return router


def _add_reading(router: APIRouter, ports: WebPorts) -> None:
    @router.get("/health", tags=["node"])
    def health() -> Response:
        """200 when studies are taken and worked on; 503 with the reason while the node warms up."""
        ready, reason = ports.readiness()
        body = {"status": "ready" if ready else "warming", "reason": None if ready else reason}
        return JSONResponse(
            body | info_to_json(ports.info()),
            status_code=200 if ready else 503,
            headers={} if ready else {"Retry-After": "1"},
        )

    @router.get("/api/studies", tags=["studies"])
    def list_studies(state: State = None, limit: Limit = 50, before: Before = None) -> dict[str, Any]:
        """Studies, the latest arrival first. `next` is the address of the page after, or null."""
        store = ports.studies()
        studies = store.list_studies(state=state, limit=limit, before=before)
        query = next_page(studies, state, limit)
        return {
            "studies": [study_to_json(study) for study in studies],
            "counts": dict(store.counts()),
            "next": None if query is None else f"/api/studies?{query}",
        }

    @router.get("/api/studies/{uid}", tags=["studies"])
    def study(uid: Uid) -> dict[str, Any]:
        """One study with its deliveries and latest assessment (null before there is one)."""
        store = ports.studies()
        return study_to_json(known_study(store, uid)) | {
            "deliveries": [delivery_to_json(delivery) for delivery in store.deliveries(uid)],
            "assessment": store.assessment(uid),
        }


def _add_results(router: APIRouter, ports: WebPorts) -> None:
    @router.get("/api/studies/{uid}/findings", tags=["studies"])
    def findings(uid: Uid) -> Mapping[str, Any]:
        """The latest assessment: status, reason, findings with probability, presence and evidence."""
        store = ports.studies()
        study = known_study(store, uid)
        assessment = store.assessment(uid)
        if assessment is None:
            raise _nothing_yet("not-assessed", "The study has not been assessed", study)
        return assessment

    @router.get(
        "/api/studies/{uid}/report",
        tags=["studies"],
        response_class=FileResponse,
        responses={200: {"content": {"application/dicom": {}}}},
    )
    def report(uid: Uid) -> FileResponse:
        """The latest structured report as a DICOM file."""
        store = ports.studies()
        study = known_study(store, uid)
        stored = None if study.report_uid is None else store.report(study.report_uid)
        if stored is None or not stored.path.is_file():
            raise _nothing_yet("no-report", "There is no report of this study", study)
        return FileResponse(stored.path, media_type="application/dicom", filename=f"{uid}.sr.dcm")


def _nothing_yet(slug: str, words: str, study: StudyRecord) -> ProblemError:
    why = "" if study.reason is None else f" ({study.reason})"
    extra = {"state": study.state.value, "reason": study.reason}
    return ProblemError(Problem(404, slug, f"{words}; its state is {study.state.value}{why}.", extra))


def _add_doing(router: APIRouter, ports: WebPorts) -> None:
    @router.post("/api/studies/{uid}/retry", tags=["studies"], status_code=202)
    def retry(uid: Uid) -> dict[str, Any]:
        """Work on a failed or refused study again."""
        store = ports.studies()
        study = known_study(store, uid)
        if not store.retry(uid):
            words = f"Only a failed or refused study can be tried again; this one is {study.state.value}."
            raise ProblemError(Problem(409, "not-failed", words))
        return study_to_json(known_study(store, uid))

    @router.post("/api/studies/{uid}/deliveries/{archive}/retry", tags=["studies"], status_code=202)
    def retry_delivery(uid: Uid, archive: ArchiveName) -> dict[str, Any]:
        """Send the reports of a study to an archive again where that was given up."""
        store = ports.studies()
        known_study(store, uid)
        owed = [delivery for delivery in store.deliveries(uid) if delivery.destination == archive]
        queued = [d for d in owed if store.retry_delivery(d.report_uid, archive)]
        if not queued:
            words = f"No delivery of this study to {archive} has failed."
            raise ProblemError(Problem(409, "not-failed", words))
        return {"study_uid": uid, "archive": archive, "queued": len(queued)}

    @router.post("/api/studies/{uid}/complete", tags=["studies"], status_code=202)
    def complete(uid: Uid) -> dict[str, Any]:
        """Stop waiting for more objects of a study and work on it now."""
        store = ports.studies()
        study = known_study(store, uid)
        if not store.complete_now(uid):
            words = f"The study is not being received; its state is {study.state.value}."
            raise ProblemError(Problem(409, "not-receiving", words))
        return study_to_json(known_study(store, uid))


def _add_fetches(router: APIRouter, ports: WebPorts) -> None:
    @router.post("/api/announce", tags=["archives"], status_code=202)
    def announce(announcement: Announcement, response: Response) -> dict[str, Any]:
        """A configured archive holds a complete study: the node fetches it. Announcing twice does no harm."""
        if announcement.archive not in ports.info().archives:
            words = (
                f"No archive {announcement.archive!r} to fetch from is configured; add it under [[archives]]."
            )
            raise ProblemError(Problem(404, "unknown-archive", words))
        ports.announce(
            announcement.archive, announcement.study, announcement.study_uid, announcement.instances
        )
        response.headers["Location"] = f"/api/studies/{announcement.study_uid}"
        return announcement.model_dump()

    @router.get("/api/fetches", tags=["archives"])
    def fetches(state: FetchState | None = None, limit: Limit = 50) -> dict[str, Any]:
        """Announced studies on their way in, latest change first; `last_error` says why one is not here."""
        found = ports.studies().fetches(state=state, limit=limit)
        return {"fetches": [fetch_to_json(fetch) for fetch in found]}

    @router.post("/api/fetches/{archive}/{study}/retry", tags=["archives"], status_code=202)
    def retry_fetch(archive: ArchiveName, study: Resource) -> dict[str, Any]:
        """Fetch a study now that was given up, or that waits to be tried again."""
        store = ports.studies()
        if not store.retry_fetch(archive, study):
            found = store.fetch(archive, study)
            if found is None:
                words = f"The archive {archive} has announced no study {study}."
                raise ProblemError(Problem(404, "unknown-fetch", words))
            words = f"Only what failed or waits can be tried again; this fetch is {found.state.value}."
            raise ProblemError(Problem(409, "not-failed", words))
        return {"archive": archive, "study": study}
