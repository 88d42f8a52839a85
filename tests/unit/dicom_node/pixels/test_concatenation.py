"""A slide sent in several parts, and its scanner's colours."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageCms
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.pixels.colour import to_srgb
from dicom_node.pixels.select import read_study
from dicom_node.records import StudyRead
from tests.support.pixel_objects import encoder, save, slide

TISSUE = np.random.default_rng(3).integers(0, 40, (200, 300, 3), dtype=np.uint8) + np.array(
    (180, 90, 150), dtype=np.uint8
)


def parts_of(whole: Dataset, *counts: int) -> list[Dataset]:
    """The frames of an uncompressed slide in objects of so many frames each (PS3.3 C.7.6.16.2.2.4)."""
    frames = whole.pixel_array
    uid, first, parts = generate_uid(), 0, []
    for number, count in enumerate(counts):
        part = deepcopy(whole)
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        part.ConcatenationUID, part.InConcatenationNumber = uid, number + 1
        part.InConcatenationTotalNumber, part.ConcatenationFrameOffsetNumber = len(counts), first
        part.NumberOfFrames = count
        part.PixelData = frames[first : first + count].tobytes()
        if "PerFrameFunctionalGroupsSequence" in part:
            groups = part.PerFrameFunctionalGroupsSequence
            part.PerFrameFunctionalGroupsSequence = groups[first : first + count]
        first += count
        parts.append(part)
    return parts


def run(folder: Path, *objects: Dataset) -> StudyRead:
    reader = encoder("slide", microns_per_pixel=0.5, tile=64, tiles=12)
    return read_study([save(ds, folder) for ds in objects], {"pathology": reader})


def tiles(read: StudyRead) -> NDArray[np.float32]:
    (view,) = read.views
    return np.stack([sample.values for sample in view.samples])


@pytest.mark.parametrize("sparse", [False, True])
def test_parts_in_any_order_give_what_the_whole_gives(tmp_path: Path, sparse: bool) -> None:
    whole = slide(TISSUE, 32, 0.5, sparse=sparse)
    frames = int(whole.NumberOfFrames)
    first, second, third = parts_of(whole, 20, 25, frames - 45)
    read = run(tmp_path, third, first, second)
    np.testing.assert_array_equal(tiles(read), tiles(run(tmp_path, whole)))
    assert read.skipped == ()
    assert len(read.views[0].sources) == 3


def test_a_part_that_is_missing_is_told(tmp_path: Path) -> None:
    whole = slide(TISSUE, 32, 0.5)
    parts = parts_of(whole, 20, 25, int(whole.NumberOfFrames) - 45)
    for there in ([parts[0], parts[2]], parts[:2], parts[1:]):
        read = run(tmp_path, *there)
        assert not read.views
        assert {entry.reason for entry in read.skipped} == {"concatenation"}
        assert len(read.skipped) == 2


def test_colours_are_converted_by_the_profile_of_the_scanner() -> None:
    header, path = Dataset(), Dataset()
    assert to_srgb(header) == (None, None)
    path.ICCProfile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    header.OpticalPathSequence = [path]
    assert to_srgb(header) == (None, None), "it is sRGB already"
    path.ICCProfile = b"no profile"
    convert, told = to_srgb(header)
    assert convert is None
    assert told is not None


def test_a_profile_of_other_primaries_changes_colours(tmp_path: Path) -> None:
    # The sRGB profile with its red and blue primaries exchanged: a scanner whose red is blue.
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = {bytes(content[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(content[131])}
    red, blue = (slice(entries[tag] + 4, entries[tag] + 12) for tag in (b"rXYZ", b"bXYZ"))
    content[red], content[blue] = content[blue], content[red]
    profile = bytes(content).replace("sRGB".encode("utf-16-be"), "else".encode("utf-16-be"))
    ds = slide(TISSUE, 32, 0.5)
    path = Dataset()
    path.ICCProfile = profile
    ds.OpticalPathSequence = [path]
    read = run(tmp_path, ds)
    plain = tiles(run(tmp_path, slide(TISSUE, 32, 0.5)))
    np.testing.assert_allclose(tiles(read), plain[..., ::-1], atol=0.02)
    assert any("ICC" in note for note in read.views[0].notes)
