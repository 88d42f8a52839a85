"""A node with the bundle that ships: the sample studies are sent, assessed, and asked for over HTTP."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread

from dicom_node.demo import send
from dicom_node.store.embedded import EmbeddedPostgres
from tests.support.node_process import NodeProcess
from tests.support.tree import ROOT
from tests.support.waiting import wait_until

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
SENT = ("xray/chest-pa.dcm", "ecg/resting-12-lead.dcm", "retina/fundus-left.dcm")


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[NodeProcess, dict[str, Dataset]]]:
    """A node that has assessed the samples, by modality, in a folder that PostgreSQL's user can reach."""
    with tempfile.TemporaryDirectory(prefix="m3ask", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "node"
        quick = {"study": {"quiet_seconds": 1.0}}
        sent = {path.split("/")[0]: dcmread(SAMPLES / path) for path in SENT}
        with NodeProcess(folder, settings=quick) as started:
            started.start(ready_within=240)
            send(list(sent.values()), "127.0.0.1", started.dicom_port, started.ae_title)
            uids = [str(dataset.StudyInstanceUID) for dataset in sent.values()]
            wait_until(lambda: all(_finished(started, uid) for uid in uids), "end of the work", 240)
            yield started, sent
        EmbeddedPostgres(folder / "data" / "postgres").discard()


def _finished(node: NodeProcess, uid: str) -> bool:
    known = node.study(uid)
    return known is not None and known["state"] in ("reported", "out_of_scope", "refused", "failed")


def asked(node: NodeProcess, **params: str) -> dict[str, Any]:
    answer = httpx.get(f"{node.url}/api/search", params=params, trust_env=False, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def studies(answer: dict[str, Any]) -> set[str]:
    return {hit["study_uid"] for hit in answer["answers"]}


def test_a_finding_and_its_denial_part_the_studies_by_what_the_report_says(
    node: tuple[NodeProcess, dict[str, Dataset]],
) -> None:
    process, sent = node
    told = 0
    for dataset in sent.values():
        uid = str(dataset.StudyInstanceUID)
        for finding in process.get(f"/api/studies/{uid}/findings")["findings"]:
            there = studies(asked(process, q=finding["name"]))
            absent = studies(asked(process, q=f"no {finding['name']}"))
            assert (uid in there) == (finding["presence"] != "absent"), finding["id"]
            assert (uid in absent) == (finding["presence"] == "absent"), finding["id"]
            told += 1
    assert told >= 3


def test_what_the_object_says_filters(node: tuple[NodeProcess, dict[str, Dataset]]) -> None:
    process, sent = node
    chest = sent["xray"]
    uid, sex = str(chest.StudyInstanceUID), {"F": "women", "M": "men"}[str(chest.PatientSex)]
    other = {"F": "men", "M": "women"}[str(chest.PatientSex)]
    day = date.fromisoformat(f"{chest.StudyDate[:4]}-{chest.StudyDate[4:6]}-{chest.StudyDate[6:]}")
    assert uid in studies(asked(process, q=f"x-ray of {sex}", date=day.isoformat()))
    assert uid not in studies(asked(process, q=f"x-ray of {other}"))
    assert uid not in studies(asked(process, q=f"x-ray of {sex} before {day.isoformat()}"))


def test_studies_like_another_are_of_any_modality(node: tuple[NodeProcess, dict[str, Dataset]]) -> None:
    process, sent = node
    uid = str(sent["xray"].StudyInstanceUID)
    found = asked(process, similar_to=uid)
    assert studies(found) == {str(d.StudyInstanceUID) for d in sent.values()} - {uid}
    assert all(-1.0 <= hit["similarity"] <= 1.0 for hit in found["answers"])


def test_no_word_of_a_question_is_in_the_log(node: tuple[NodeProcess, dict[str, Dataset]]) -> None:
    process, _ = node
    asked(process, q="Mustermann with pneumonia")
    refused = httpx.get(f"{process.url}/api/search", params={"q": "Mustermann no"}, trust_env=False)
    assert refused.status_code == 422
    assert "mustermann" not in process.log.read_text(encoding="utf-8", errors="replace").lower()


def test_studies_like_a_file_that_the_node_does_not_keep(
    node: tuple[NodeProcess, dict[str, Dataset]],
) -> None:
    process, sent = node
    before = process.get("/api/studies")["counts"]
    answer = httpx.post(
        f"{process.url}/api/search",
        content=(SAMPLES / SENT[0]).read_bytes(),
        headers={"Content-Type": "application/dicom"},
        trust_env=False,
        timeout=120,
    )
    assert answer.status_code == 200, answer.text
    best = answer.json()["answers"][0]
    assert best["study_uid"] == str(sent["xray"].StudyInstanceUID)
    assert process.get("/api/studies")["counts"] == before


def test_qido_finds_by_attributes_and_in_words(node: tuple[NodeProcess, dict[str, Dataset]]) -> None:
    process, sent = node
    uid = str(sent["ecg"].StudyInstanceUID)

    def found(**keys: str) -> list[dict[str, Any]]:
        answer = httpx.get(f"{process.url}/dicom-web/studies", params=keys, trust_env=False, timeout=60)
        assert answer.status_code == 200, answer.text
        return list(answer.json())

    assert len(found()) == len(sent)
    (study,) = found(ModalitiesInStudy="ECG")
    assert study["0020000D"]["Value"] == [uid]
    like = found(**{"4D331004": uid})
    assert {one["0020000D"]["Value"][0] for one in like} == {
        str(dataset.StudyInstanceUID) for dataset in sent.values()
    } - {uid}


def test_pictures_of_what_is_kept(node: tuple[NodeProcess, dict[str, Dataset]]) -> None:
    process, sent = node
    for dataset in sent.values():
        address = f"{process.url}/studies/{dataset.StudyInstanceUID}/thumbnail"
        answer = httpx.get(address, trust_env=False, timeout=60)
        assert answer.headers["content-type"] == "image/jpeg"
    page = httpx.get(f"{process.url}/search?modality=xray", trust_env=False, timeout=60)
    assert str(sent["xray"].PatientID) in page.text
