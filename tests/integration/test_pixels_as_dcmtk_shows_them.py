"""Grey values of real files, in every syntax that dcmtk reads, beside what dcmtk shows of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dicom_node.errors import InputError
from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.decode import read_frame
from dicom_node.pixels.ground import load_header, number, text
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.radiograph import display
from tests.support.peers import require
from tests.support.pixel_objects import SAMPLES
from tests.support.tree import ROOT

FOLDER = Path(os.environ.get("M3BIND_DICOM", ROOT.parent / "shared" / "dicom"))
OTHERWISE = {
    "pydicom__rtdose_expb": "32 bits, big endian: dcmtk swaps 16-bit words (PS3.5 A.3), pydicom whole values",
    "pydicom__rtdose_expb_1frame": "the same",
}
"""What is read in another way than dcmtk's, and why."""
FILES = [path for path in sorted(FOLDER.glob("*.dcm")) if path.stem not in OTHERWISE]
SHARED = [*sorted(SAMPLES.glob("xray/*.dcm")), *sorted(SAMPLES.glob("ct/*.dcm")), *FILES]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1) as children:
        yield children


def shown_by_dcmtk(path: Path, how: list[str], out: Path) -> NDArray[np.int64] | None:
    """(H, W) 0 to 255, or None where dcmtk does not read the file."""
    for name in ("dcmj2pnm", "dcml2pnm"):
        (program,) = require(name)
        subprocess.run(
            [program, "-O", "+F", "1", *how, path, out], capture_output=True, check=False, timeout=60
        )
        if out.exists():
            return np.asarray(Image.open(out)).astype(np.int64)
    return None


def compared(path: Path, pool: DecoderPool, out: Path) -> NDArray[np.int64] | None:
    """Differences in grey levels; None where one of the two does not read the file as a grey image."""
    try:
        loaded = load_header(read_instance(path), pool)
        if not text(loaded.header, "PhotometricInterpretation").startswith("MONOCHROME"):
            return None
        ours, _ = display(loaded, read_frame(loaded))
    except InputError:
        return None
    if "VOILUTSequence" in loaded.header:
        how = ["+Wl", "1"]
    else:
        how = ["+Wi", "1"] if number(loaded.header, "WindowWidth") else ["+Wm"]
    theirs = shown_by_dcmtk(path, how, out)
    if theirs is None:
        return None
    if text(loaded.header, "PhotometricInterpretation") == "MONOCHROME1":
        ours = 1 - ours
    assert theirs.shape == ours.shape
    return np.asarray(np.abs(theirs - np.rint(255 * ours).astype(np.int64)))


@pytest.mark.data
@pytest.mark.parametrize("path", SHARED, ids=lambda path: path.stem)
def test_within_one_grey_level_of_dcmtk(path: Path, pool: DecoderPool, tmp_path: Path) -> None:
    difference = compared(path, pool, tmp_path / "shown.pgm")
    assert difference is None or difference.max() <= 1


@pytest.mark.data
@pytest.mark.skipif(not FILES, reason="the odd files are not here: set M3BIND_DICOM")
def test_the_comparison_compares(pool: DecoderPool, tmp_path: Path) -> None:
    both = [path for i, path in enumerate(SHARED) if compared(path, pool, tmp_path / f"{i}.pgm") is not None]
    syntaxes = {read_instance(path).transfer_syntax_uid for path in both}
    assert len(both) >= 45
    assert len(syntaxes) >= 11
