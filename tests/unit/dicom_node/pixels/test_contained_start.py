"""How decoding children are started: from nowhere but the package, with no secret, and at nobody's cost."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless

from dicom_node.errors import InputError
from dicom_node.pixels import contained
from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.decoders.coded import Coded
from dicom_node.pixels.decoders.registry import DecoderUnavailableError, decode
from dicom_node.pixels.streams import inspect

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def frame(tail: bytes = b"") -> Coded:
    data = bytes(imagecodecs.jpegls_encode(PIXELS)) + tail
    return Coded(data, str(JPEGLSLossless), 8, 8, 1, 8, 8, False, "MONOCHROME2", 0, inspect(data))


def test_a_child_is_no_way_for_code_or_secrets_and_outlives_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("resource", "numpy", "signal"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('ran').write_text('x')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("M3BIND_PASSWORD", "hidden")
    monkeypatch.setenv("PYTHONPATH", f":{os.environ.get('PYTHONPATH', '')}")
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)] if _may_open(1200) else []
    try:
        with DecoderPool(1) as pool:
            np.testing.assert_array_equal(pool(frame(), 0), PIXELS)
            (child,) = pool._idle
            environment = Path(f"/proc/{child._process.pid}/environ").read_bytes()
            os.kill(child._process.pid, signal.SIGINT)
            np.testing.assert_array_equal(pool(frame(), 0), PIXELS)
            assert pool._idle == [child], "an interrupt of the terminal is for the parent"
    finally:
        for each in spare:
            os.close(each)
    assert not (tmp_path / "ran").exists()
    assert b"hidden" not in environment
    assert spare, "the pipes had numbers beyond 1024"


def _may_open(wanted: int) -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted <= hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return hard >= wanted


@pytest.mark.parametrize("program", ["/bin/true", "/nowhere/python"])
def test_a_child_that_cannot_start_is_not_the_fault_of_the_image(
    monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    with DecoderPool(1) as pool, pytest.raises(DecoderUnavailableError) as caught:
        pool(frame(), 0)
    assert not isinstance(caught.value, InputError)


def test_less_memory_than_the_machine_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hard limit below ours: asking for more would end every child."""
    bounded = contained._START.replace(
        "import sys; ", "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)); "
    )
    assert bounded != contained._START
    monkeypatch.setattr(contained, "_START", bounded)
    with DecoderPool(1, megabytes=1 << 30) as pool:
        np.testing.assert_array_equal(pool(frame(), 0), PIXELS)


def test_zeros_behind_the_end_of_a_stream_are_padding() -> None:
    np.testing.assert_array_equal(decode(frame(bytes(100)), 0, contained=True), PIXELS)
