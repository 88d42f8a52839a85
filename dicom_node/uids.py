"""What passes for a UID in this node: one rule for every door.

UIDs become names of files and parts of addresses, so nothing but digits and single full stops may pass.
"""

import re

from dicom_node.errors import UnreadableObjectError

UID_PATTERN = r"[0-9]+(\.[0-9]+)*"
"""PS3.5 section 9.1, without its rule that a component has no leading zero, which real devices break."""
UID_LENGTH = 64
"""Characters at most (PS3.5 section 9.1)."""

_UID = re.compile(UID_PATTERN)


def is_uid(text: str) -> bool:
    """Whether `text` may stand for a UID, and so be part of a path."""
    return len(text) <= UID_LENGTH and _UID.fullmatch(text) is not None


def check_uid(uid: str, attribute: str) -> str:
    """Return `uid` when it is one; `attribute` names it in the message, which never quotes it.

    Raises UnreadableObjectError (`bad-uid`) otherwise.
    """
    if not is_uid(uid):
        raise UnreadableObjectError("bad-uid", f"{attribute} is not a UID (PS3.5 section 9.1)")
    return uid
