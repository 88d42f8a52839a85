"""An object is looked at in memory alone."""

import subprocess
from pathlib import Path

import pytest

from dicom_node.errors import InferenceUnavailableError
from dicom_node.looking import in_memory, look
from dicom_node.pixels.decoders.registry import decode_here


def test_the_file_is_in_memory_and_gone_with_the_block() -> None:
    with in_memory(b"abc") as path:
        assert path.read_bytes() == b"abc"
        assert path.stat().st_size == 3
        assert not Path(path.readlink()).exists()
        # Frames are decoded by children.
        assert subprocess.run(["cat", path], capture_output=True, check=True).stdout == b"abc"
    assert not path.exists()


def test_until_the_bundle_is_loaded_nothing_is_looked_at() -> None:
    with pytest.raises(InferenceUnavailableError):
        look(None, b"", decode_here)
