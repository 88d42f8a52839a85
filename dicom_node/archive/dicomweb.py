"""Any archive that takes STOW-RS: Store Instances of PS3.18 section 10.5."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx

from dicom_node.archive.failures import ALREADY_THERE, failure
from dicom_node.archive.http_peer import HttpPeer
from dicom_node.archive.protocol import DeliveryReceipt
from dicom_node.errors import ArchiveRefusedError

# PS3.18 table 10.5.3-2; attributes by tag as in the DICOM JSON model (PS3.18 annex F).
_FAILED_SOP_SEQUENCE = "00081198"
_FAILURE_REASON = "00081197"
_REFERENCED_SOP_SEQUENCE = "00081199"
_REFERENCED_SOP_INSTANCE_UID = "00081155"

_CONFLICT = 409
"""Nothing was stored; the body says why, instance by instance."""


class StowArchive(HttpPeer):
    """ReportArchive over STOW-RS. Safe for threads.

    `url` is the DICOMweb root, e.g. https://pacs.example.org/dicom-web.
    """

    def deliver(self, report: bytes, sop_instance_uid: str, sop_class_uid: str) -> DeliveryReceipt:
        """Store one Part 10 file, and believe the response's sequences rather than its status alone."""
        boundary = _boundary(report)
        response = self.send(
            "POST",
            "studies",
            content=b"".join(_multipart(report, boundary)),
            headers={
                "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
                "Accept": "application/dicom+json",
            },
            allow=frozenset({_CONFLICT}),
        )
        reason = failure_reason(response, sop_instance_uid)
        if reason is not None and reason not in ALREADY_THERE:
            raise failure(str(self), reason, sop_class_uid)
        if reason is None and not confirms(response, sop_instance_uid):
            raise ArchiveRefusedError(
                f"{self} answered {response.status_code} and confirms no instance; its own log says why"
            )
        return DeliveryReceipt(self.name, sop_instance_uid, already_there=reason is not None)


def failure_reason(response: httpx.Response, sop_instance_uid: str) -> int | None:
    """Failure Reason (0008,1197) of our instance, 0x0110 where the item has none; None: not failed."""
    for item in _items(response, _FAILED_SOP_SEQUENCE):
        # Some peers leave the UID out of the item when they could not read the object.
        if _value(item, _REFERENCED_SOP_INSTANCE_UID) in (None, sop_instance_uid):
            reason = _value(item, _FAILURE_REASON)
            return reason if isinstance(reason, int) else 0x0110
    return None


def confirms(response: httpx.Response, sop_instance_uid: str) -> bool:
    """Whether the instance is among those that were stored. 200 says so by itself (PS3.18 table 10.5.3-1);
    202 ("some were") and 409 ("none was") need the Referenced SOP Sequence to name it."""
    if response.status_code not in (202, _CONFLICT):
        return True
    stored = _items(response, _REFERENCED_SOP_SEQUENCE)
    return any(_value(item, _REFERENCED_SOP_INSTANCE_UID) == sop_instance_uid for item in stored)


def _items(response: httpx.Response, tag: str) -> list[dict[str, Any]]:
    """Items of a sequence in the response's data set; none where the body is no DICOM JSON."""
    try:
        body = json.loads(response.content)
    except ValueError:
        return []
    dataset = body[0] if isinstance(body, list) and body else body
    element = dataset.get(tag) if isinstance(dataset, dict) else None
    items = element.get("Value") if isinstance(element, dict) else None
    return [item for item in items or [] if isinstance(item, dict)]


def _value(item: dict[str, Any], tag: str) -> Any:
    """First value of an attribute, None where it is absent or empty."""
    values = (item.get(tag) or {}).get("Value") or [None]
    return values[0]


def _boundary(report: bytes) -> str:
    """A line that does not occur in the report (RFC 2046 section 5.1.1)."""
    while (boundary := secrets.token_hex(16)).encode() in report:
        pass
    return boundary


def _multipart(report: bytes, boundary: str) -> Iterator[bytes]:
    yield f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    yield report
    yield f"\r\n--{boundary}--\r\n".encode("ascii")
