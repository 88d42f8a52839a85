"""The file head that is written before a data set, against pydicom's."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from dicom_node.dimse.reception import file_head

uids = st.from_regex(r"[12](\.(0|[1-9][0-9]{0,8})){1,5}", fullmatch=True)


@given(
    uids,
    uids,
    st.sampled_from(["1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90"]),
    st.sampled_from(["A", "PACS"]),
)
def test_pydicom_reads_back_what_was_meant(sop_class: str, instance: str, syntax: str, caller: str) -> None:
    head = file_head(sop_class, instance, syntax, caller)
    meta = dcmread(BytesIO(head)).file_meta
    assert meta.MediaStorageSOPClassUID == sop_class
    assert meta.MediaStorageSOPInstanceUID == instance
    assert meta.TransferSyntaxUID == syntax
    assert meta.SourceApplicationEntityTitle == caller
    assert meta.FileMetaInformationVersion == b"\x00\x01"
    assert 132 + 12 + meta.FileMetaInformationGroupLength == len(head)
