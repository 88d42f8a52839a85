"""The main job with everything real: five studies go to Orthanc by C-STORE, five reports come back into them.

storescu -> Orthanc with the plugin -> the node fetches, assesses, reports -> the same Orthanc.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from dicom_node.archive.protocol import OWN_MANUFACTURER
from tests.support.dcmtk import store_scu
from tests.support.node_process import NodeProcess
from tests.support.orthanc import PLUGIN_SCRIPT, OrthancServer
from tests.support.samples import AS_IT_IS, MODALITIES, SAMPLES, sample_files, sample_header, sample_uid
from tests.support.validators import dciodvfy_errors, pixelmed_errors
from tests.support.waiting import wait_until

pytestmark = pytest.mark.peer

REPORT_SECONDS = 120.0


@dataclass(frozen=True)
class Site:
    """A hospital of two programs: an archive and a node that know each other."""

    orthanc: OrthancServer
    node: NodeProcess

    def reports(self, study_uid: str) -> list[Dataset]:
        """The node's own objects in a study of Orthanc."""
        study = self.orthanc.study_id(study_uid)
        series = [] if study is None else self.orthanc.get(f"/studies/{study}/series")
        own = [one for one in series if one["MainDicomTags"].get("Manufacturer") == OWN_MANUFACTURER]
        return [dcmread(BytesIO(self.orthanc.file(i))) for one in own for i in one["Instances"]]

    def send(self, *folders: Path) -> None:
        """As a modality would."""
        store_scu(folders, self.orthanc.dicom_port, called=self.orthanc.ae_title, options=AS_IT_IS)

    def await_reports(self, study_uid: str, number: int = 1) -> list[Dataset]:
        """The reports of a study, once there are `number`; AssertionError with the node's words if not."""

        def there() -> bool:
            told = self.node.study(study_uid) or {}
            if told.get("state") in {"failed", "refused", "out_of_scope"}:
                raise AssertionError(f"ended as {told['state']}: {told['reason']}")
            return len(self.reports(study_uid)) >= number

        wait_until(there, f"report {number}; the node's log:\n{self.node.log_text()}", REPORT_SECONDS)
        return self.reports(study_uid)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    # Not pytest's own folder: run as root, the embedded PostgreSQL is another user, who may not enter it.
    with TemporaryDirectory(prefix="m3bind-site-", ignore_cleanup_errors=True) as folder:
        yield from running_site(Path(folder))


def running_site(folder: Path) -> Iterator[Site]:
    orthanc = OrthancServer(folder / "orthanc", script=PLUGIN_SCRIPT)
    node = NodeProcess(
        folder / "node",
        archives=[{"kind": "orthanc", "name": "archive", "url": orthanc.url}],
        settings={"study": {"quiet_seconds": 1.0}},
    )
    orthanc.settings["M3Bind"] = {"NodeUrl": node.url, "ArchiveName": "archive", "MaxRetrySeconds": 1}
    with ExitStack() as stack:
        stack.callback(node.stop)
        stack.callback(orthanc.kill)
        orthanc.start()
        node.start()
        yield Site(orthanc, node)


@pytest.fixture(scope="module")
def studies(site: Site) -> dict[str, str]:
    """Study Instance UIDs of the five samples by modality, after they have been sent to Orthanc."""
    site.send(*(SAMPLES / modality for modality in MODALITIES))
    return {modality: sample_uid(modality) for modality in MODALITIES}


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_valid_report_is_in_the_study_it_is_about(
    site: Site, studies: dict[str, str], modality: str, tmp_path: Path
) -> None:
    (report,) = site.await_reports(studies[modality])
    told = site.node.get(f"/api/studies/{studies[modality]}")
    file = tmp_path / "report.dcm"
    report.save_as(file, enforce_file_format=True)

    source = sample_header(modality)
    assert report.StudyInstanceUID == studies[modality]
    assert (report.PatientID, report.PatientName) == (source.PatientID, source.PatientName)
    assert (report.Modality, report.VerificationFlag) == ("SR", "UNVERIFIED")
    assert [d["state"] for d in told["deliveries"]] == ["delivered"]
    assert dciodvfy_errors(file) == []
    assert pixelmed_errors(file) == []


def test_no_report_causes_another(site: Site, studies: dict[str, str]) -> None:
    for uid in studies.values():
        site.await_reports(uid)

    def all_stable() -> bool:
        found = (site.orthanc.study_id(uid) for uid in studies.values())
        return all(site.orthanc.get(f"/studies/{study}")["IsStable"] for study in found)

    wait_until(all_stable, "stable studies")
    wait_until(lambda: _log_read(site.orthanc), "reading of the whole change log")
    assert site.orthanc.get("/m3bind/status")["announced_since_start"] == len(MODALITIES)
    assert [len(site.reports(uid)) for uid in studies.values()] == [1] * len(MODALITIES)


def test_a_new_image_is_assessed_with_the_rest_and_refers_to_the_first_report(
    site: Site, studies: dict[str, str], tmp_path: Path
) -> None:
    uid = studies["xray"]
    (first,) = site.await_reports(uid)
    image = dcmread(sample_files("xray")[0])
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.SeriesInstanceUID = generate_uid()
    image.save_as(tmp_path / "second.dcm", enforce_file_format=True)

    site.send(tmp_path)
    reports = site.await_reports(uid, 2)

    (second,) = (report for report in reports if report.SOPInstanceUID != first.SOPInstanceUID)
    assert first.SOPInstanceUID in _referenced(second.PredecessorDocumentsSequence)


def test_a_study_that_came_while_the_node_was_down_gets_its_report(site: Site, tmp_path: Path) -> None:
    ecg = dcmread(sample_files("ecg")[0])
    ecg.StudyInstanceUID, ecg.SeriesInstanceUID = generate_uid(), generate_uid()
    ecg.SOPInstanceUID = ecg.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ecg.save_as(tmp_path / "ecg.dcm", enforce_file_format=True)

    site.node.stop()
    site.send(tmp_path)
    wait_until(lambda: site.orthanc.get("/m3bind/status")["waiting"] == 1, "a study that waits")
    site.node.start()

    assert len(site.await_reports(str(ecg.StudyInstanceUID))) == 1


def _log_read(orthanc: OrthancServer) -> bool:
    """Whether the plugin has dealt with the last StableStudy of Orthanc's log."""
    changes: list[dict[str, Any]] = orthanc.get("/changes?since=0&limit=100000")["Changes"]
    last = max(change["Seq"] for change in changes if change["ChangeType"] == "StableStudy")
    status = orthanc.get("/m3bind/status")
    return bool(status["change_log_position"] >= last and status["waiting"] == 0)


def _referenced(predecessors: list[Dataset]) -> set[str]:
    return {
        str(instance.ReferencedSOPInstanceUID)
        for study in predecessors
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
