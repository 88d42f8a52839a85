"""C-FIND where it does not go smoothly: broken objects, limits, peers that cancel or go away."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_node.dimse import find_scp
from dicom_node.dimse.find_scp import FindSettings
from dicom_node.dimse.status import CANCELLED, OUT_OF_RESOURCES, PENDING, SUCCESS
from tests.support.find import STUDY_ROOT, ask, asked, associate, gather, identifier, studies
from tests.support.find_node import FindNode, finding_node
from tests.support.find_objects import study, uid, write
from tests.support.postgres import Databases


def find(node: FindNode, **keys: object) -> list[str]:
    return studies(ask(node.port, asked(**keys)))


def test_an_object_that_cannot_be_read_keeps_nobody_from_being_found(
    databases: Databases, tmp_path: Path
) -> None:
    with finding_node(databases, tmp_path) as node:
        node.take(write(tmp_path / "out", [*study(1), *study(2, patient_id="P2")]))
        broken = node.store.instances(uid(1))[0].path
        broken.write_bytes(broken.read_bytes()[:140])
        assert find(node) == ["1", "2"]
        assert find(node, PatientID="P2") == ["2"]


def test_the_limit_is_honoured_and_told(databases: Databases, tmp_path: Path) -> None:
    with finding_node(databases, tmp_path, settings=FindSettings(limit=3)) as node:
        node.take(write(tmp_path / "out", [one for n in range(1, 6) for one in study(n)]))
        told = ask(node.port, identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=""))
        assert told.statuses == (PENDING,) * 3 + (OUT_OF_RESOURCES,)
        assert told.comment == "more than 3 matches: narrow the query"
        exact = ask(
            node.port, identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID=[uid(n) for n in (1, 2, 3)])
        )
        assert exact.statuses == (PENDING,) * 3 + (SUCCESS,)


def test_nobody_waits_for_the_headers_of_a_whole_archive(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_scp, "READ_SECONDS", -1.0)
    with finding_node(databases, tmp_path) as node:
        node.take(write(tmp_path / "out", study(1)))
        told = ask(node.port, asked())
        assert told.statuses == (OUT_OF_RESOURCES,)
        assert told.comment == "headers of older objects are still being read: ask again"


def test_the_archive_that_holds_a_study_is_named(databases: Databases, tmp_path: Path) -> None:
    settings = FindSettings(retrieve_ae_title="PACS", retrieve_ae_titles={"orthanc": "ORTHANC"})
    with finding_node(databases, tmp_path, settings=settings) as node:
        node.take(write(tmp_path / "a", study(1)), origin="orthanc")
        node.take(write(tmp_path / "b", study(2)))
        keys = identifier(QueryRetrieveLevel="STUDY", StudyInstanceUID="", InstanceAvailability="")
        told = {str(a.StudyInstanceUID): a for a in ask(node.port, keys).answers}
        assert {name: a.RetrieveAETitle for name, a in told.items()} == {uid(1): "ORTHANC", uid(2): "PACS"}
        assert {a.InstanceAvailability for a in told.values()} == {"ONLINE"}


def test_a_long_answer_ends_when_it_is_no_longer_wanted(databases: Databases, tmp_path: Path) -> None:
    with finding_node(databases, tmp_path, settings=FindSettings(limit=10**6)) as node:
        node.take(write(tmp_path / "out", study(1, instances=250)))
        keys = identifier(
            QueryRetrieveLevel="IMAGE",
            StudyInstanceUID=uid(1),
            SeriesInstanceUID=uid(1, 1),
            SOPInstanceUID="",
        )
        association = associate(node.port)
        statuses = []
        for status, _ in association.send_c_find(keys, STUDY_ROOT, msg_id=7):
            statuses.append(int(status.Status))
            if len(statuses) == 20:
                association.send_c_cancel(7, query_model=STUDY_ROOT)
        assert statuses[-1] == CANCELLED
        assert 20 <= len(statuses) < 250
        assert studies(gather(association, asked())) == ["1"]
        association.release()
