from __future__ import annotations

import pytest
from pydicom.uid import Comprehensive3DSRStorage

from dicom_node.archive.failures import failure
from dicom_node.archive.protocol import SopClassRefusedError
from dicom_node.errors import ArchiveRefusedError, ArchiveUnavailableError


@pytest.mark.parametrize("code", [0xA700, 0xA7FF, 0x0213])
def test_a_peer_without_room_may_have_some_later(code: int) -> None:
    assert isinstance(failure("archive 'a'", code, "1.2"), ArchiveUnavailableError)


@pytest.mark.parametrize("code", [0xA900, 0xA9FF, 0xC000, 0xC123, 0xCFFF, 0x0110, 0x0124, 0x0117])
def test_every_other_failure_is_for_good(code: int) -> None:
    error = failure("archive 'a'", code, "1.2")

    assert type(error) is ArchiveRefusedError
    assert f"0x{code:04X}" in str(error)


def test_an_unsupported_sop_class_is_told_apart() -> None:
    error = failure("archive 'a'", 0x0122, Comprehensive3DSRStorage)

    assert isinstance(error, SopClassRefusedError)
    assert error.sop_class_uid == Comprehensive3DSRStorage


def test_the_message_says_what_the_code_means() -> None:
    assert "out of resources" in str(failure("archive 'a'", 0xA700, "1.2"))
    assert "does not match its SOP class" in str(failure("archive 'a'", 0xA900, "1.2"))
    assert "cannot understand" in str(failure("archive 'a'", 0xC042, "1.2"))
