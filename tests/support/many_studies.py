"""Many small studies of real images: the CT slices and the radiograph that ship, under UIDs of their own."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from pydicom import Dataset, dcmread

from tests.support.samples import sample_files

ROOT = "1.2.826.0.1.3680043.10.1568"
STEP = 2
"""Every second row and column of a CT slice is kept: 256 by 256, about as many bytes as the radiograph."""


def study_uid(number: int) -> str:
    """Study Instance UID of the study with that number, from 1."""
    return f"{ROOT}.{number}"


def write_image_studies(folder: Path, studies: int, instances: int) -> list[Path]:
    """`studies` studies of `instances` images each, CT and CR in turn, one file of 130 to 160 KB per image.

    No two files have the same content; the same arguments give the same files. Explicit VR Little Endian.
    """
    slices = [_thinned(dcmread(path)) for path in sample_files("ct")]
    radiographs = [dcmread(path) for path in sample_files("xray")]
    written = []
    for study in range(1, studies + 1):
        sources = slices if study % 2 else radiographs
        for number in range(1, instances + 1):
            path = folder / f"study{study:02d}" / f"{number:03d}.dcm"
            path.parent.mkdir(parents=True, exist_ok=True)
            image = _renamed(sources[number % len(sources)], study, number)
            image.save_as(path, enforce_file_format=True)
            written.append(path)
    return written


def _thinned(slice_: Dataset) -> Dataset:
    """A CT slice of half its rows and columns, with the spacing that goes with them."""
    kept = slice_.pixel_array[::STEP, ::STEP]
    slice_.Rows, slice_.Columns = kept.shape
    slice_.PixelSpacing = [STEP * float(spacing) for spacing in slice_.PixelSpacing]
    slice_.PixelData = kept.tobytes()
    return slice_


def _renamed(source: Dataset, study: int, number: int) -> Dataset:
    image = deepcopy(source)
    image.StudyInstanceUID = study_uid(study)
    image.SeriesInstanceUID = f"{ROOT}.{study}.1"
    image.SOPInstanceUID = f"{ROOT}.{study}.1.{number}"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.InstanceNumber = number
    if image.Modality == "CT":
        image.FrameOfReferenceUID = f"{ROOT}.{study}.2"
        x, y, _ = image.ImagePositionPatient
        image.ImagePositionPatient = [x, y, -5.0 * number]
    return image
