"""Places of sparse tiles, from bytes as from data sets; and regions a batch at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.pixels import levels
from dicom_node.pixels.ground import load_header
from dicom_node.pixels.levels import Region, describe, read_regions
from dicom_node.pixels.positions import raw_positions
from tests.support.pixel_objects import save, slide

MATRIX = np.random.default_rng(2).integers(0, 200, (128, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("known", [True, False])
def test_bytes_and_data_sets_tell_the_same(tmp_path: Path, syntax: UID, known: bool) -> None:
    ds = slide(MATRIX, 32, 0.5, sparse=True)
    ds.file_meta.TransferSyntaxUID = syntax
    for item in ds.PerFrameFunctionalGroupsSequence:
        item.is_undefined_length_sequence_item = not known
    loaded = load_header(save(ds, tmp_path))
    raw = raw_positions(loaded)
    assert (raw is not None) is known
    placed = describe(loaded).placed
    assert placed is not None
    places = [(32 * row, 32 * column) for row in range(4) for column in range(5)]
    assert placed.tolist() == [[*place, frame] for frame, place in enumerate(reversed(places))]


def test_regions_are_read_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = describe(load_header(save(slide(MATRIX, 32, 0.5), tmp_path)))
    regions = [Region(x, y, 40) for y in (0, 50) for x in (0, 30, 60, 90)]
    monkeypatch.setattr(levels, "BATCH", 2 * 40 * 40)
    sizes, real = [], levels._read_batch

    def counted(one: levels.Level, some: list[Region]) -> object:
        sizes.append(len(some))
        return real(one, some)

    monkeypatch.setattr(levels, "_read_batch", counted)
    for region, pixels in read_regions(level, regions):
        wanted = MATRIX[region.top : region.top + 40, region.left : region.left + 40]
        np.testing.assert_array_equal(pixels[: len(wanted), : wanted.shape[1]], wanted)
    assert sizes == [2, 2, 2, 2]
