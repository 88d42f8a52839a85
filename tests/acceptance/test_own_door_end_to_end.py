"""The main job without Orthanc: five studies go to the node's own SCP, five reports go to a PACS by C-STORE.

storescu -> the node -> dcmtk's storescp; a second storescp knows no Comprehensive 3D SR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, generate_uid

from tests.support.dcmtk import StoreScp, echo_scu, running_store_scp, store_scu
from tests.support.node_process import NodeProcess
from tests.support.samples import AS_IT_IS, MODALITIES, SAMPLES, sample_files, sample_header, sample_uid
from tests.support.validators import dciodvfy_errors, pixelmed_errors
from tests.support.waiting import wait_until

pytestmark = pytest.mark.peer

REPORT_SECONDS = 120.0
TRAINING_STACK = {"torch", "transformers", "timm", "peft", "m3bind", "export"}


@dataclass(frozen=True)
class Site:
    """A node that delivers to a PACS and to an older one."""

    node: NodeProcess
    pacs: StoreScp
    old_pacs: StoreScp
    log: Path


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        # Not pytest's own folder: run as root, the embedded PostgreSQL is another user, who may not enter it.
        name = stack.enter_context(TemporaryDirectory(prefix="m3bind-site-", ignore_cleanup_errors=True))
        folder = Path(name)
        pacs = stack.enter_context(running_store_scp(folder / "pacs", ae_title="PACS"))
        old = stack.enter_context(
            running_store_scp(folder / "old", ae_title="OLD", sop_classes=[ComprehensiveSRStorage])
        )
        node = NodeProcess(
            folder / "node",
            archives=[
                {"kind": "cstore", "name": peer.ae_title, "host": "127.0.0.1", "port": peer.port}
                | {"ae_title": peer.ae_title}
                for peer in (pacs, old)
            ],
            deliver_to=[pacs.ae_title, old.ae_title],
            settings={"study": {"quiet_seconds": 1.0}},
            environment={"PYTHONPROFILEIMPORTTIME": "1"},
        )
        stack.callback(node.stop)
        node.start()
        yield Site(node, pacs, old, node.log)


@pytest.fixture(scope="module")
def finished(site: Site) -> dict[str, dict[str, Any]]:
    """What the node says of each study, by modality, once both archives have every report."""
    assert echo_scu(site.node.dicom_port, called=site.node.ae_title)
    folders = [SAMPLES / modality for modality in MODALITIES]
    store_scu(folders, site.node.dicom_port, called=site.node.ae_title, options=AS_IT_IS)

    def delivered(uid: str) -> bool:
        told = site.node.study(uid) or {}
        if told.get("state") in {"failed", "refused", "out_of_scope"}:
            raise AssertionError(f"ended as {told['state']}: {told['reason']}")
        return [delivery["state"] for delivery in told.get("deliveries", [])] == ["delivered", "delivered"]

    for modality in MODALITIES:
        uid = sample_uid(modality)
        wait_until(lambda uid=uid: delivered(uid), f"report of {modality}", REPORT_SECONDS)  # type: ignore[misc]
    return {modality: site.node.get(f"/api/studies/{sample_uid(modality)}") for modality in MODALITIES}


def reports(peer: StoreScp, study_uid: str) -> list[tuple[Path, Dataset]]:
    """What a PACS holds of one study."""
    held = [(path, dcmread(path)) for path in peer.files()]
    return [(path, dataset) for path, dataset in held if study_uid == dataset.StudyInstanceUID]


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_valid_report_reaches_the_pacs(
    site: Site, finished: dict[str, dict[str, Any]], modality: str
) -> None:
    assert finished[modality]["deliveries"]
    ((file, report),) = reports(site.pacs, sample_uid(modality))

    assert report.SOPClassUID == Comprehensive3DSRStorage
    assert report.PatientID == sample_header(modality).PatientID
    assert dciodvfy_errors(file) == []
    assert pixelmed_errors(file) == []


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_pacs_that_refuses_comprehensive_3d_sr_gets_comprehensive_sr(
    site: Site, finished: dict[str, dict[str, Any]], modality: str
) -> None:
    assert finished[modality]["deliveries"]
    ((file, report),) = reports(site.old_pacs, sample_uid(modality))

    assert report.SOPClassUID == ComprehensiveSRStorage
    assert dciodvfy_errors(file) == []


def test_a_study_that_is_sent_again_makes_no_second_report(
    site: Site, finished: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    new = dcmread(sample_files("ecg")[0])
    new.StudyInstanceUID, new.SeriesInstanceUID = generate_uid(), generate_uid()
    new.SOPInstanceUID = new.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    new.save_as(tmp_path / "new.dcm", enforce_file_format=True)

    store_scu([SAMPLES / "ecg"], site.node.dicom_port, called=site.node.ae_title)
    store_scu([tmp_path], site.node.dicom_port, called=site.node.ae_title)
    # Both become complete in turn: once the later one is reported, the earlier one would have been.
    wait_until(lambda: len(reports(site.pacs, str(new.StudyInstanceUID))) == 1, "report", REPORT_SECONDS)

    assert len(reports(site.pacs, sample_uid("ecg"))) == 1
    assert site.node.get(f"/api/studies/{sample_uid('ecg')}")["deliveries"] == finished["ecg"]["deliveries"]


def test_serving_never_imports_the_training_stack(site: Site, finished: dict[str, dict[str, Any]]) -> None:
    assert len(finished) == len(MODALITIES)
    lines = site.log.read_text(encoding="utf-8", errors="replace").splitlines()
    imported = {m[1] for line in lines if (m := re.match(r"import time:.*\|\s+([\w.]+)$", line))}

    assert {"onnxruntime", "pydicom", "fastapi"} <= imported
    assert {name.split(".")[0] for name in imported} & TRAINING_STACK == set()
