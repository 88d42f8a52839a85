"""C-STORE against dcmtk's storescp in its bad moods, and against scripted pynetdicom peers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage, generate_uid
from pynetdicom import AE, evt

from dicom_node.archive.dimse import CStoreArchive
from dicom_node.archive.protocol import DeliveryReceipt, SopClassRefusedError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError, ReportError
from tests.support.dcmtk import running_store_scp
from tests.support.objects import report


def deliver(
    port: int, *, sop_class: str = ComprehensiveSRStorage, called: str = "PACS", timeout: float = 5.0
) -> DeliveryReceipt:
    archive = CStoreArchive(
        "pacs", "127.0.0.1", port, ae_title=called, calling_ae_title="M3BIND", timeout=timeout
    )
    uid = generate_uid()
    return archive.deliver(report(generate_uid(), sop_uid=uid, sop_class_uid=sop_class), uid, sop_class)


@contextmanager
def peer_that_answers(status: int, *, max_associations: int = 10) -> Iterator[int]:
    """A pynetdicom SCP that answers every C-STORE with `status`; yields its port."""
    entity = AE(ae_title="PACS")
    entity.require_called_aet = True
    entity.maximum_associations = max_associations
    entity.add_supported_context(ComprehensiveSRStorage)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: status)]
    )
    assert server is not None
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


@pytest.mark.peer
def test_a_peer_without_the_sop_class_is_told_apart_and_takes_the_other(tmp_path: Path) -> None:
    with running_store_scp(tmp_path / "scp", sop_classes=[ComprehensiveSRStorage]) as scp:
        with pytest.raises(SopClassRefusedError) as caught:
            deliver(scp.port, sop_class=Comprehensive3DSRStorage)
        deliver(scp.port, sop_class=ComprehensiveSRStorage)

        assert caught.value.sop_class_uid == Comprehensive3DSRStorage
        assert len(scp.files()) == 1


@pytest.mark.peer
def test_a_peer_that_aborts_is_tried_again(tmp_path: Path) -> None:
    with (
        running_store_scp(tmp_path / "scp", options=["--abort-after"]) as scp,
        pytest.raises(ArchiveUnavailableError),
    ):
        deliver(scp.port)


@pytest.mark.peer
def test_a_peer_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with (
        running_store_scp(tmp_path / "scp", options=["--sleep-during", "4"]) as scp,
        pytest.raises(ArchiveUnavailableError),
    ):
        deliver(scp.port, timeout=1.0)


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xB006, 0xB007])
def test_success_and_warnings_mean_stored(status: int) -> None:
    with peer_that_answers(status) as port:
        assert not deliver(port).already_there


def test_a_duplicate_is_a_delivery() -> None:
    with peer_that_answers(0x0111) as port:
        assert deliver(port).already_there


def test_out_of_resources_is_tried_again_and_cannot_understand_is_not() -> None:
    with peer_that_answers(0xA700) as port, pytest.raises(ArchiveUnavailableError, match="0xA700"):
        deliver(port)
    with peer_that_answers(0xC000) as port, pytest.raises(ArchiveRefusedError, match="0xC000"):
        deliver(port)


def test_a_wrong_ae_title_is_refused_for_good() -> None:
    with peer_that_answers(0) as port, pytest.raises(ArchiveRefusedError, match="check both AE titles"):
        deliver(port, called="NOBODY")


def test_a_full_peer_is_tried_again() -> None:
    other = AE()
    other.add_requested_context(ComprehensiveSRStorage)
    with peer_that_answers(0, max_associations=1) as port:
        held = other.associate("127.0.0.1", port, ae_title="PACS")
        with pytest.raises(ArchiveUnavailableError, match="for now"):
            deliver(port)
        held.release()


def test_a_report_under_a_wrong_uid_never_leaves() -> None:
    archive = CStoreArchive("pacs", "127.0.0.1", 1, ae_title="PACS", calling_ae_title="M3BIND")
    with pytest.raises(ReportError):
        archive.deliver(report(generate_uid()), generate_uid(), ComprehensiveSRStorage)
