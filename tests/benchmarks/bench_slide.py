"""Memory and time of reading a slide of 100,000 x 100,000 pixels, with and without an offset table, and
TILED_SPARSE.

    python tests/benchmarks/bench_slide.py [--side 100000]

Writes the slide (one level, JPEG tiles of 256 pixels, tissue on half of them) to a temporary folder, then
lets a fresh process read it as the node does, and prints its seconds and peak memory. Exit status 1 at 1 GB
or more.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from tests.support.pixel_objects import encoder, slide

TILE = 256
LIMIT_MB = 1000


def write_slide(path: Path, side: int, table: bool, sparse: bool) -> None:
    """`side` x `side` pixels; every frame is one of two JPEG tiles; a sparse slide tells where each lies."""
    random = np.random.default_rng(5)
    tissue = (random.integers(0, 40, (TILE, TILE, 3)) + np.array((180, 90, 150))).astype(np.uint8)
    glass = np.full((TILE, TILE, 3), 240, dtype=np.uint8)
    tiles = [bytes(imagecodecs.jpeg8_encode(each, level=60)) for each in (glass, tissue)]
    down = -(-side // TILE)
    ds = slide(np.full((TILE, TILE, 3), 255, dtype=np.uint8), TILE, 0.86)
    ds.NumberOfFrames = down * down
    ds.TotalPixelMatrixRows = ds.TotalPixelMatrixColumns = side
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    frames = [tiles[(column > down // 2) ^ (row % 7 == 0)] for row in range(down) for column in range(down)]
    ds.PixelData = encapsulate(frames, has_bot=table)
    ds["PixelData"].VR = "OB"
    if sparse:
        ds.DimensionOrganizationType = "TILED_SPARSE"
        places = [(row, column) for row in range(down) for column in range(down)]
        ds.add_new("PerFrameFunctionalGroupsSequence", "UN", b"".join(map(group, places)))
        ds["PerFrameFunctionalGroupsSequence"].VR = "OB"
    ds.save_as(path, enforce_file_format=True)
    if sparse:
        _as_sequence(path)


def group(place: tuple[int, int]) -> bytes:
    """The functional group of one tile, Explicit VR Little Endian: its position alone, and as an item."""
    row, column = (TILE * index + 1 for index in place)
    position = b"\x48\0\x1e\2SL\4\0" + column.to_bytes(4, "little")
    position += b"\x48\0\x1f\2SL\4\0" + row.to_bytes(4, "little")
    sequence = b"\x48\0\x1a\2SQ\0\0" + (len(position) + 8).to_bytes(4, "little") + item(position)
    return item(sequence)


def item(content: bytes) -> bytes:
    """PS3.5 7.5: of known length."""
    return b"\xfe\xff\0\xe0" + len(content).to_bytes(4, "little") + content


def _as_sequence(path: Path) -> None:
    """The groups were written as bytes, since as data sets they take minutes: call them a sequence."""
    with path.open("r+b") as file:
        head = file.read(1 << 16)
        file.seek(head.index(b"\x00\x52\x30\x92OB") + 4)
        file.write(b"SQ")


def read_once(path: Path) -> None:
    """In a process of its own: read the slide, print what it took."""
    reader = encoder(
        "slide",
        {"op": "resize", "size": [224, 224], "mode": "stretch"},
        microns_per_pixel=0.86,
        tile=224,
        tiles=64,
    )
    began = time.perf_counter()
    with DecoderPool(2) as pool:
        read = read_study([read_instance(path)], {"pathology": reader}, pool)
    samples = sum(len(view.samples) for view in read.views)
    taken = time.perf_counter() - began
    # Not getrusage: what it tells includes the peak of the process that started this one.
    status = Path("/proc/self/status").read_text("ascii")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) / 1024
    print(f"{samples} {taken:.2f} {own:.0f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=100_000)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read:
        read_once(chosen.read)
        return
    most = 0.0
    print("written as     file MB   tiles   seconds   peak MB")
    for name, table, sparse in (
        ("offset table", True, False),
        ("no table", False, False),
        ("sparse", True, True),
    ):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "slide.dcm"
            write_slide(path, chosen.side, table, sparse)
            command = [sys.executable, __file__, "--read", str(path)]
            told = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
            megabytes = path.stat().st_size / 1e6
        print(f"{name:12} {megabytes:9.0f} {told[0]:>7} {told[1]:>9} {told[2]:>9}")
        most = max(most, float(told[2]))
    if most >= LIMIT_MB:
        sys.exit(1)


if __name__ == "__main__":
    main()
