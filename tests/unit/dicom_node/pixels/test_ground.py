"""Attributes read from bytes and from what pydicom makes of them are the same."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.ground import number, numbers, text, value


def held(keyword: str, vr: str, raw: bytes, little: bool = True) -> Dataset:
    """As a file is read: not parsed yet."""
    ds = Dataset()
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(raw), raw, 0, False, little)
    return ds


@pytest.mark.parametrize(
    ("keyword", "vr", "raw", "wanted"),
    [
        ("Rows", "US", b"\x00\x02", (512.0,)),
        ("ImagePositionPatient", "DS", b"-1.5\\ 2e1 \\3.25 ", (-1.5, 20.0, 3.25)),
        ("WindowCenter", "DS", b" ", None),
        ("WindowCenter", "DS", b"", None),
        ("InstanceNumber", "IS", b"17 ", (17.0,)),
        ("LUTDescriptor", "US", b"\x00\x01\x00\x00\x10\x00", (256.0, 0.0, 16.0)),
        ("PixelPaddingValue", "SS", b"\x00\xfc", (-1024.0,)),
    ],
)
def test_numbers(keyword: str, vr: str, raw: bytes, wanted: tuple[float, ...] | None) -> None:
    ds = held(keyword, vr, raw)
    assert numbers(ds, keyword) == wanted
    assert value(ds, keyword) is not None or wanted is None  # parsed now
    assert numbers(ds, keyword) == wanted


@pytest.mark.parametrize("raw", [b"one", b"nan", b"1\\inf", b"1,5"])
def test_what_is_no_number_is_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableObjectError) as caught:
        number(held("RescaleSlope", "DS", raw), "RescaleSlope")
    assert caught.value.reason == "bad-attribute"


def test_big_endian() -> None:
    assert number(held("Rows", "US", b"\x02\x00", little=False), "Rows") == 512


def test_what_is_not_there() -> None:
    ds = held("Rows", "US", b"\x00\x02")
    assert numbers(ds, "Columns") is None
    assert text(ds, "ImageType") == ""
    assert value(ds, "NoSuchKeyword") is None
