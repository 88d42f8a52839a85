from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from dicom_node.inference.cache import LoadCache
from dicom_node.inference.selftest import CHECKS, cpu_model, surroundings


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    cache = LoadCache(tmp_path / "made" / "on demand", "d" * 64)
    assert cache.arrays("anchors") is None
    cache.keep_arrays("anchors", ids=np.array(["a"]), affirmed=np.eye(2))
    kept = cache.arrays("anchors")
    assert kept is not None
    assert kept["ids"].tolist() == ["a"]
    np.testing.assert_array_equal(kept["affirmed"], np.eye(2))


def test_another_bundle_finds_nothing(tmp_path: Path) -> None:
    LoadCache(tmp_path, "d" * 64).keep_arrays("anchors", a=np.eye(2))
    LoadCache(tmp_path, "d" * 64).keep_passed("here")
    assert LoadCache(tmp_path, "e" * 64).arrays("anchors") is None
    assert not LoadCache(tmp_path, "e" * 64).passed("here")


def test_a_passed_test_counts_in_the_same_surroundings_only(tmp_path: Path) -> None:
    cache = LoadCache(tmp_path, "d" * 64)
    cache.keep_passed("here")
    assert cache.passed("here")
    assert not cache.passed("there")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"nothing of the kind"])
def test_a_damaged_file_is_told_and_passed_over(content: bytes, tmp_path: Path) -> None:
    (tmp_path / f"anchors-{'d' * 64}.npz").write_bytes(content)
    with capture_logs() as logs:
        assert LoadCache(tmp_path, "d" * 64).arrays("anchors") is None
    assert [entry["event"] for entry in logs] == ["load_cache_damaged"]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with capture_logs() as logs:
        LoadCache(tmp_path / "file" / "below", "d" * 64).keep_passed("here")
    assert [entry["event"] for entry in logs] == ["load_cache_not_written"]


def test_without_a_folder_nothing_is_kept() -> None:
    cache = LoadCache(None, "d" * 64)
    cache.keep_passed("here")
    cache.keep_arrays("anchors", a=np.eye(1))
    assert not cache.passed("here")
    assert cache.arrays("anchors") is None


def test_surroundings_differ_with_each_part() -> None:
    base = ("d", "1.31", ("CPU",), "EPYC")
    changed = [
        ("e", *base[1:]),
        ("d", "1.32", *base[2:]),
        (*base[:2], ("CUDA", "CPU"), "EPYC"),
        (*base[:3], "M1"),
    ]
    assert len({surroundings(*each) for each in (base, *changed)}) == 5


def test_what_passed_a_weaker_self_test_must_pass_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = surroundings("d", "1.31", ("CPU",), "EPYC")
    monkeypatch.setattr("dicom_node.inference.selftest.CHECKS", CHECKS - 1)
    assert surroundings("d", "1.31", ("CPU",), "EPYC") != before


def test_the_processor_is_told_without_its_clock(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    first = "vendor_id\t: A\nmodel name\t: B\ncpu MHz\t: 2000.1\nflags\t\t: avx2 fma\n"
    info.write_text(first + "\n" + first.replace("B", "C"))
    assert cpu_model(info) == "vendor_id=A; model name=B; flags=avx2 fma"
    assert cpu_model(tmp_path / "none") == ""
