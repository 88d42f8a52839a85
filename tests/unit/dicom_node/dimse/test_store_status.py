"""From errors to statuses."""

from __future__ import annotations

import pytest

from dicom_node import errors
from dicom_node.dimse.status import answer_for


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.StorageFullError("full"), 0xA700),
        (errors.DatabaseUnavailableError("away"), 0xA700),
        (errors.StorageError("broken"), 0x0110),
        (errors.InstanceConflictError("conflict"), 0x0111),
        (errors.UnreadableObjectError("bad-uid", "no UID"), 0x0117),
        (errors.UnreadableObjectError("class-mismatch", "differ"), 0xA900),
        (errors.UnreadableObjectError("instance-mismatch", "differ"), 0xA900),
        (errors.UnreadableObjectError("bad-data-set", "broken"), 0xC000),
        (errors.UnsupportedObjectError("no-reader", "unknown"), 0x0122),
        (errors.ReportError("not of this room"), 0x0110),
        (ValueError("Doe^John"), 0x0110),
    ],
)
def test_every_error_has_its_status(error: Exception, status: int) -> None:
    assert answer_for(error).status == status


def test_an_unexpected_error_is_not_quoted() -> None:
    assert "Doe" not in answer_for(ValueError("Doe^John")).comment


def test_a_comment_fits_an_lo_and_is_ascii() -> None:
    answer = answer_for(errors.StorageError("trop plein: é\\" + "x" * 100)).to_dataset()
    assert len(answer.ErrorComment) <= 64
    assert answer.ErrorComment.isascii()
    assert "\\" not in answer.ErrorComment
