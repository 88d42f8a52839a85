"""Colours of real files (RGB, YBR_FULL, YBR_FULL_422, palettes) beside what dcmtk shows of them."""

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
from dicom_node.pixels import retina
from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.decode import read_frame
from dicom_node.pixels.ground import load_header, text
from dicom_node.pixels.headers import read_instance
from tests.support.peers import require
from tests.support.pixel_objects import SAMPLES
from tests.support.tree import ROOT

FOLDER = Path(os.environ.get("M3BIND_DICOM", ROOT.parent / "shared" / "dicom"))
OTHERWISE = {
    "fo-dicom__GH195": "its header says RGB and its JPEG stream YCbCr (JFIF); dcmtk believes the header",
}
"""What is read in another way than dcmtk's, and why."""
REAL = [path for path in sorted(FOLDER.glob("*.dcm")) if path.stem not in OTHERWISE]
FILES = [*sorted(SAMPLES.glob("retina/*.dcm")), *sorted(SAMPLES.glob("pathology/*.dcm")), *REAL]


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    with DecoderPool(1) as children:
        yield children


def compared(path: Path, pool: DecoderPool, out: Path) -> tuple[str, NDArray[np.int64]] | None:
    """Photometric interpretation and differences in levels of 0 to 255; None where one of the two does not
    read the file as colours."""
    try:
        loaded = load_header(read_instance(path), pool)
        photometric = text(loaded.header, "PhotometricInterpretation")
        if not photometric or photometric.startswith("MONOCHROME"):
            return None
        ours = np.rint(255 * retina.rgb(loaded, read_frame(loaded), photometric)).astype(np.int64)
    except InputError:
        return None
    for name in ("dcmj2pnm", "dcml2pnm"):
        (program,) = require(name)
        subprocess.run([program, "-O", "+F", "1", path, out], capture_output=True, check=False, timeout=60)
        if out.exists():
            theirs = np.asarray(Image.open(out).convert("RGB")).astype(np.int64)
            assert theirs.shape == ours.shape
            return photometric, np.abs(theirs - ours)
    return None


@pytest.mark.data
def test_within_one_level_of_dcmtk(pool: DecoderPool, tmp_path: Path) -> None:
    """All files in one test: nine in ten hold no colours, and would each be a test that tests nothing."""
    kinds: dict[str, int] = {}
    farthest: dict[str, int] = {}
    for number, path in enumerate(FILES):
        found = compared(path, pool, tmp_path / f"{number}.ppm")
        if found is not None:
            kinds[found[0]] = kinds.get(found[0], 0) + 1
            farthest[path.stem] = int(found[1].max())
    assert {stem: most for stem, most in farthest.items() if most > 1} == {}
    assert kinds["YBR_FULL_422"] >= 3, "the samples"
    if REAL:
        assert kinds["RGB"] >= 10
        assert kinds["YBR_FULL"] >= 3
        assert kinds["PALETTE COLOR"] >= 3
        assert kinds["YBR_FULL_422"] >= 6
