"""Failure codes of storage, as C-STORE statuses and STOW-RS failure reasons share them.

Sources: PS3.4 table B.2-1, PS3.7 annex C, PS3.18 section 10.5.3 and table I.2-2.
"""

from __future__ import annotations

from dicom_node.archive.protocol import SopClassRefusedError
from dicom_node.errors import ArchiveError, ArchiveRefusedError, ArchiveUnavailableError

SOP_CLASS_NOT_SUPPORTED = 0x0122
NOT_AUTHORISED = 0x0124
RESOURCE_LIMITATION = 0x0213

ALREADY_THERE = frozenset({0x0111, 0xB00E})
"""Duplicate SOP Instance (PS3.7 C.5.5), and the reason 45070 by which Azure's DICOM service says the same."""

_MEANINGS = {
    0x0110: "processing failure",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    NOT_AUTHORISED: "not authorised",
    RESOURCE_LIMITATION: "resource limitation",
}
_RANGES = (
    (0xA700, 0xA7FF, "out of resources"),
    (0xA900, 0xA9FF, "data set does not match its SOP class"),
    (0xC000, 0xCFFF, "cannot understand"),
)


def meaning(code: int) -> str:
    """The standard's words for a failure code, for messages."""
    ranged = next((text for low, high, text in _RANGES if low <= code <= high), "failure")
    return _MEANINGS.get(code, ranged)


def failure(peer: str, code: int, sop_class_uid: str) -> ArchiveError:
    """The error that a failure code stands for; `peer` names the archive in its message."""
    text = f"{peer} answered 0x{code:04X} ({meaning(code)})"
    if code == SOP_CLASS_NOT_SUPPORTED:
        return SopClassRefusedError(f"{text} to an object of SOP class {sop_class_uid}", sop_class_uid)
    if 0xA700 <= code <= 0xA7FF or code == RESOURCE_LIMITATION:
        return ArchiveUnavailableError(f"{text}; it is tried again later")
    if code == NOT_AUTHORISED:
        return ArchiveRefusedError(f"{text}; check the AE title, user or token that it expects of the node")
    return ArchiveRefusedError(f"{text}; the peer's own log says why")
