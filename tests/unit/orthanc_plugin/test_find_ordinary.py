"""Where ordinary queries are left to Orthanc itself."""

from collections.abc import Callable
from typing import Any

import pytest

from orthanc_plugin.find_archive import appended, vrs
from orthanc_plugin.find_ordinary import why_not


def version(*own: int) -> Callable[[int, int, int], bool]:
    return lambda *asked: own >= asked


def test_the_compared_version_with_its_own_settings_is_taken() -> None:
    assert why_not({"LimitFindResults": 0, "LuaScripts": []}, version(1, 10, 1)) is None


@pytest.mark.parametrize("own", [(1, 10, 0), (1, 10, 2), (1, 12, 9)])
def test_another_version_is_not(own: tuple[int, int, int]) -> None:
    assert "1.10.1" in str(why_not({}, version(*own)))


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        ({"LuaScripts": ["filter.lua"]}, "LuaScripts"),
        ({"StorageAccessOnFind": "Never"}, "StorageAccessOnFind"),
        ({"LimitFindResults": 100}, "LimitFindResults"),
        ({"LimitFindInstances": 1}, "LimitFindInstances"),
        ({"PostgreSQL": {"EnableIndex": True}}, "PostgreSQL"),
        ({"DicomModalities": {"a": ["A", "10.0.0.1", 104, "Vitrea"]}}, "Vitrea"),
    ],
)
def test_a_set_up_that_was_not_compared_is_not(configuration: dict[str, Any], says: str) -> None:
    assert says in str(why_not(configuration, version(1, 10, 1)))


def test_what_is_appended_is_read_back() -> None:
    made = appended(
        bytes(128) + b"DICM", [(0x0008, 0x0005, "CS", b"ISO_IR 192"), (0x4D33, 0x10, "LO", b"M3B")]
    )
    assert vrs(made) == {"0008,0005": "CS", "4d33,0010": "LO"}
    assert made.endswith(b"LO\x04\x00M3B ")
