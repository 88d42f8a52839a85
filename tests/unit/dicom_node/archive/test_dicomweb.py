from __future__ import annotations

import json
from email import message_from_bytes
from email.policy import HTTP
from typing import Any

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from dicom_node.archive.dicomweb import StowArchive
from dicom_node.archive.protocol import DeliveryReceipt, SopClassRefusedError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError
from tests.support.canned_http import Answer, canned_http

UID = "1.2.3.4"
STORED = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [UID]}}]}}


def failed(reason: int | None, uid: str | None = UID) -> dict[str, Any]:
    item: dict[str, Any] = {}
    if uid is not None:
        item["00081155"] = {"vr": "UI", "Value": [uid]}
    if reason is not None:
        item["00081197"] = {"vr": "US", "Value": [reason]}
    return {"00081198": {"vr": "SQ", "Value": [item]}}


def deliver(status: int, body: object, sop_class: str = ComprehensiveSRStorage) -> DeliveryReceipt:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Answer(status, content, {"Content-Type": "application/dicom+json"})
    with canned_http(answer) as server:
        archive = StowArchive("vna", server.url)
        try:
            return archive.deliver(b"part 10", UID, sop_class)
        finally:
            archive.close()


@pytest.mark.parametrize("body", [STORED, [STORED], b"", b"<NativeDicomModel/>", {}])
def test_200_is_stored_whatever_the_body_looks_like(body: object) -> None:
    assert deliver(200, body) == DeliveryReceipt("vna", UID, already_there=False)


def test_202_with_our_instance_among_the_stored_is_stored() -> None:
    assert not deliver(202, STORED).already_there


@pytest.mark.parametrize("status", [202, 409])
def test_nothing_confirmed_is_refused(status: int) -> None:
    with pytest.raises(ArchiveRefusedError, match="confirms no instance"):
        deliver(status, b"")


@pytest.mark.parametrize("status", [200, 202, 409])
def test_a_failed_item_counts_whatever_the_status(status: int) -> None:
    with pytest.raises(ArchiveRefusedError, match="0xC000"):
        deliver(status, failed(0xC000))
    with pytest.raises(ArchiveUnavailableError, match="0xA700"):
        deliver(status, failed(0xA700))
    with pytest.raises(ArchiveRefusedError, match="0x0110"):
        deliver(status, failed(None, uid=None))


def test_a_failure_of_another_instance_is_not_ours() -> None:
    assert not deliver(200, failed(0xC000, uid="1.9.9")).already_there


def test_an_unsupported_sop_class_is_told_apart() -> None:
    with pytest.raises(SopClassRefusedError) as caught:
        deliver(409, failed(0x0122), Comprehensive3DSRStorage)
    assert caught.value.sop_class_uid == Comprehensive3DSRStorage


@pytest.mark.parametrize("reason", [0x0111, 45070])
def test_a_duplicate_is_a_delivery(reason: int) -> None:
    assert deliver(409, failed(reason)).already_there


def test_the_request_is_one_part_of_multipart_related() -> None:
    report = b"\x00binary\r\n--not-a-boundary\r\n\xff"
    with canned_http(Answer(200, b"{}")) as server:
        archive = StowArchive("vna", server.url + "/dicom-web")
        archive.deliver(report, UID, ComprehensiveSRStorage)
        archive.close()
    (request,) = server.requests

    assert (request.method, request.path) == ("POST", "/dicom-web/studies")
    head = b"Content-Type: " + request.headers["content-type"].encode() + b"\r\n\r\n"
    message = message_from_bytes(head + request.body, policy=HTTP)
    assert message.get_content_type() == "multipart/related"
    assert message.get_param("type") == "application/dicom"
    boundary = b"--" + str(message.get_param("boundary")).encode()
    part = request.body.split(boundary)[1]
    assert part == b"\r\nContent-Type: application/dicom\r\n\r\n" + report + b"\r\n"
