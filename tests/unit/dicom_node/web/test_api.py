"""The HTTP interface as programs meet it, over a real socket."""

import httpx
import pytest

from dicom_node.store.states import DeliveryState, FetchState, StudyState
from tests.support.studies import fetch, record
from tests.support.web_node import (
    ARRIVING,
    CHEST,
    FAILED,
    FOOT,
    HOSTILE,
    REFUSED,
    REPORT,
    SR_BYTES,
    Node,
)


def test_health_is_200_when_ready(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"
    assert answer.json()["bundle"] == {"name": "m3bind-mini", "version": "0.1.0", "digest": "5e" * 32}
    assert answer.json()["providers"] == ["CPUExecutionProvider"]


def test_health_is_503_with_the_reason_while_warming(client: httpx.Client, node: Node) -> None:
    node.ready, node.database_up = False, False
    answer = client.get("/health")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "the bundle's self-test is running"
    assert answer.json()["bundle"] is None
    assert answer.headers["retry-after"] == "1"


def test_studies_come_newest_first_and_page_by_page(client: httpx.Client) -> None:
    seen = []
    address: str | None = "/api/studies?limit=4"
    while address is not None:
        page = client.get(address).json()
        seen += [study["study_uid"] for study in page["studies"]]
        address = page["next"]
    assert seen == [f"1.2.826.0.1.3680043.8.{n}" for n in range(1, 7)]


def test_studies_are_filtered_by_state_and_the_filter_survives_paging(client: httpx.Client) -> None:
    page = client.get("/api/studies", params={"state": "reported", "limit": 1}).json()
    assert [study["study_uid"] for study in page["studies"]] == [CHEST]
    assert page["counts"]["reported"] == 2
    after = client.get(page["next"]).json()
    assert [study["state"] for study in after["studies"]] == ["reported"]
    assert after["studies"][0]["study_uid"] != CHEST


@pytest.mark.parametrize(
    "query",
    ["state=sideways", "limit=0", "limit=501", "before=yesterday", "before=2026-11-22T12:00:00"],
)
def test_a_wrong_query_is_told_what_is_wrong(client: httpx.Client, query: str) -> None:
    answer = client.get(f"/api/studies?{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert query.partition("=")[0] in answer.json()["faults"][0]["where"]


def test_one_study_with_deliveries_and_assessment(client: httpx.Client) -> None:
    study = client.get(f"/api/studies/{CHEST}").json()
    assert (study["state"], study["archive"], study["report_uid"]) == ("reported", "main", REPORT)
    assert study["last_received"] == "2026-11-22T12:30:00+00:00"
    assert [(d["archive"], d["state"]) for d in study["deliveries"]] == [
        ("main", "delivered"),
        ("second", "failed"),
    ]
    assert study["assessment"]["status"] == "reported"


def test_findings_have_the_form_that_others_rely_on(client: httpx.Client) -> None:
    body = client.get(f"/api/studies/{CHEST}/findings").json()
    assert (body["study_uid"], body["modality"], body["status"], body["reason"]) == (
        CHEST,
        "xray",
        "reported",
        None,
    )
    by_name = {finding["name"]: finding for finding in body["findings"]}
    assert by_name["Pneumonia"]["present"] is True
    assert by_name["Pneumonia"]["probability"] == 0.872
    assert by_name["Pneumonia"]["code"]["value"] == "233604007"
    assert by_name["Pneumonia"]["evidence"][0]["outline"][0] == [120.2, 300.0]
    assert by_name["Cardiomegaly"]["present"] is None
    assert by_name["Atelectasis"]["present"] is False


def test_findings_before_an_assessment_say_where_the_study_stands(client: httpx.Client) -> None:
    answer = client.get(f"/api/studies/{FAILED}/findings")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:m3bind-pacs:problem:not-assessed"
    assert answer.json()["state"] == "failed"
    assert answer.json()["reason"].startswith("the encoder could not be run")


def test_the_report_is_the_file_itself(client: httpx.Client) -> None:
    answer = client.get(f"/api/studies/{CHEST}/report")
    assert answer.headers["content-type"] == "application/dicom"
    assert f'filename="{CHEST}.sr.dcm"' in answer.headers["content-disposition"]
    assert answer.content == SR_BYTES


def test_no_report_is_a_problem_also_when_its_file_is_gone(client: httpx.Client, node: Node) -> None:
    assert client.get(f"/api/studies/{FOOT}/report").json()["type"].endswith(":no-report")
    node.studies.reports[REPORT].path.unlink()
    assert client.get(f"/api/studies/{CHEST}/report").status_code == 404


@pytest.mark.parametrize("path", ["", "/findings", "/report"])
def test_an_unknown_study_is_404(client: httpx.Client, path: str) -> None:
    answer = client.get(f"/api/studies/1.2.3{path}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:m3bind-pacs:problem:unknown-study"


@pytest.mark.parametrize(
    "uid", ["abc", "1..2", "1.2.", "..%2f..%2fetc", "1." * 40 + "1", "1.2%00", "1.2%0a", "%31.٣"]
)
def test_what_is_no_uid_never_reaches_the_store(client: httpx.Client, uid: str) -> None:
    answer = client.get(f"/api/studies/{uid}")
    assert answer.status_code in {404, 422}
    assert answer.json()["type"] != "urn:m3bind-pacs:problem:unknown-study"


@pytest.mark.parametrize("uid", [FAILED, REFUSED])
def test_retry_queues_what_failed(client: httpx.Client, node: Node, uid: str) -> None:
    answer = client.post(f"/api/studies/{uid}/retry")
    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    assert node.studies.records[uid].state is StudyState.QUEUED


def test_retry_of_what_did_not_fail_is_a_conflict(client: httpx.Client) -> None:
    answer = client.post(f"/api/studies/{CHEST}/retry")
    assert answer.status_code == 409
    assert "reported" in answer.json()["detail"]
    assert client.post("/api/studies/1.2.3/retry").status_code == 404


def test_a_failed_delivery_is_sent_again_and_others_are_not(client: httpx.Client, node: Node) -> None:
    answer = client.post(f"/api/studies/{CHEST}/deliveries/second/retry")
    assert (answer.status_code, answer.json()["queued"]) == (202, 1)
    assert node.studies.deliveries(CHEST)[1].state is DeliveryState.PENDING
    assert client.post(f"/api/studies/{CHEST}/deliveries/main/retry").status_code == 409
    assert client.post(f"/api/studies/{CHEST}/deliveries/nowhere/retry").status_code == 409


def test_complete_ends_the_wait(client: httpx.Client, node: Node) -> None:
    assert client.post(f"/api/studies/{ARRIVING}/complete").json()["state"] == "queued"
    assert client.post(f"/api/studies/{ARRIVING}/complete").status_code == 409
    assert node.studies.records[ARRIVING].state is StudyState.QUEUED


ANNOUNCEMENT = {"archive": "main", "study": "3b0c9d1e-22f0", "study_uid": "1.2.3", "instances": 2}


def test_an_announcement_is_accepted_and_passed_on(client: httpx.Client, node: Node) -> None:
    answer = client.post("/api/announce", json=ANNOUNCEMENT)
    assert answer.status_code == 202
    assert answer.headers["location"] == "/api/studies/1.2.3"
    assert node.announced == [("main", "3b0c9d1e-22f0", "1.2.3", ANNOUNCEMENT["instances"])]


@pytest.mark.parametrize(
    ("change", "status", "slug"),
    [
        ({"archive": "elsewhere"}, 404, "unknown-archive"),
        ({"study": "../tools/shutdown"}, 422, "invalid-request"),
        ({"study_uid": "x"}, 422, "invalid-request"),
        ({"instances": -1}, 422, "invalid-request"),
        ({"extra": 1}, 422, "invalid-request"),
    ],
)
def test_a_wrong_announcement_is_refused(
    client: httpx.Client, node: Node, change: dict[str, object], status: int, slug: str
) -> None:
    answer = client.post("/api/announce", json=ANNOUNCEMENT | change)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:m3bind-pacs:problem:{slug}")
    assert node.announced == []


def test_text_from_outside_stays_text(client: httpx.Client, node: Node) -> None:
    node.studies.add(record("1.2.9", StudyState.FAILED, 50, reason=HOSTILE))
    assert client.get("/api/studies/1.2.9").json()["reason"] == HOSTILE
    assert client.get("/api/studies/1.2.9").headers["content-type"] == "application/json"


def test_openapi_tells_of_every_route_for_programs(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/health",
        "/api/search",
        "/api/studies",
        "/api/studies/{uid}",
        "/api/studies/{uid}/findings",
        "/api/studies/{uid}/report",
        "/api/studies/{uid}/retry",
        "/api/studies/{uid}/complete",
        "/api/studies/{uid}/deliveries/{archive}/retry",
        "/api/announce",
        "/api/fetches",
        "/api/fetches/{archive}/{study}/retry",
        "/dicom-web/studies",
        "/dicom-web/series",
        "/dicom-web/instances",
        "/dicom-web/studies/{study}/series",
        "/dicom-web/studies/{study}/instances",
        "/dicom-web/studies/{study}/series/{series}/instances",
    }
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["description"] for operation in operations)


def test_announced_studies_are_told_with_their_trouble(client: httpx.Client, node: Node) -> None:
    node.studies.announced = [fetch("abc", FetchState.FAILED, study_uid="1.2.3", last_error="no such study")]
    answer = client.get("/api/fetches?state=failed").json()
    assert answer["fetches"] == [
        {
            "archive": "main",
            "study": "abc",
            "study_uid": "1.2.3",
            "instances": None,
            "state": "failed",
            "attempts": 1,
            "last_error": "no such study",
            "announced_at": "2026-11-22T12:00:00+00:00",
            "changed_at": "2026-11-22T12:00:00+00:00",
        }
    ]
    assert client.get("/api/fetches?state=fetched").json() == {"fetches": []}
    assert client.get("/api/fetches?state=sideways").status_code == 422


def test_a_fetch_can_be_tried_again(client: httpx.Client, node: Node) -> None:
    node.studies.announced = [fetch("abc", FetchState.FAILED), fetch("def", FetchState.FETCHED)]
    assert client.post("/api/fetches/main/abc/retry").status_code == 202
    assert node.studies.announced[0].state is FetchState.WAITING
    done = client.post("/api/fetches/main/def/retry")
    assert (done.status_code, done.json()["type"]) == (409, "urn:m3bind-pacs:problem:not-failed")
    unknown = client.post("/api/fetches/main/ghi/retry")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:m3bind-pacs:problem:unknown-fetch")
