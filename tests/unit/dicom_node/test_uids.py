"""One rule for UIDs at every door: what devices write passes, what could leave a folder does not."""

from __future__ import annotations

import re

import pytest

from dicom_node.errors import UnreadableObjectError
from dicom_node.spool import Spool
from dicom_node.uids import check_uid, is_uid
from dicom_node.web.api import WHOLE_UID

UIDS = ["1", "0.0", "1.2.840.10008.1.2", "2.25." + "9" * 59, "1.02.003", "1.2.840.00.07", "0001"]
NO_UIDS = [
    "",
    ".",
    "..",
    "1..2",
    "1.2.",
    ".1",
    "1/2",
    "1.2/../3",
    "../../x",
    "1.2\\3",
    "1.2\n",
    "1.2 ",
    "1.2\x00",
    "1.a",
    "-1",
    "٣.٤",
    "1." * 32 + "1",
]


@pytest.mark.parametrize("uid", UIDS)
def test_what_devices_write_is_taken_at_every_door(uid: str, spool: Spool) -> None:
    assert check_uid(uid, "Study Instance UID") == uid
    assert spool.instance_path(uid, uid, uid).name == f"{uid}.dcm"
    assert re.search(WHOLE_UID, uid)


@pytest.mark.parametrize("uid", NO_UIDS)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_anything_else_never_becomes_a_path(uid: str, place: int, spool: Spool) -> None:
    names = ["1.2", "1.2.3", "1.2.3.4"]
    names[place] = uid
    with pytest.raises(UnreadableObjectError) as caught:
        spool.instance_path(*names)
    assert caught.value.reason == "bad-uid"
    assert uid == "" or len(uid) < 3 or uid not in str(caught.value)
    assert not is_uid(uid)
