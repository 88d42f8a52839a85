"""Small valid objects, written in any transfer syntax, for tests of what happens to them on the way."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from dicom_node.records import Instance

ROOT = "1.2.826.0.1.3680043.10.1567"


def make_dataset(study: int, number: int, *, kilobytes: int = 2, series: int = 1) -> Dataset:
    """A CT slice of invented content; the same arguments give the same data set."""
    side = max(2, int((kilobytes * 512) ** 0.5) // 2 * 2)
    made = Dataset()
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = f"{ROOT}.{study}.{series}.{number}"
    made.StudyDate = "20260102"
    made.Modality = "CT"
    made.PatientName = "Nobody^Test"
    made.PatientID = "T1"
    made.StudyInstanceUID = f"{ROOT}.{study}"
    made.SeriesInstanceUID = f"{ROOT}.{study}.{series}"
    made.InstanceNumber = number
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows = made.Columns = side
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit = 15
    made.PixelRepresentation = 0
    made.PixelData = (hashlib.sha256(f"{study}.{number}".encode()).digest() * (side * side // 16 + 1))[
        : side * side * 2
    ]
    return made


def write_file(path: Path, dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> Path:
    """A Part 10 file with that data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    dataset.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_studies(folder: Path, studies: int, instances: int, *, kilobytes: int = 2) -> list[Path]:
    """`studies` studies of `instances` each, one file per instance."""
    return [
        write_file(
            folder / f"study{study}" / f"{number:04d}.dcm", make_dataset(study, number, kilobytes=kilobytes)
        )
        for study in range(1, studies + 1)
        for number in range(1, instances + 1)
    ]


def instance_of(dataset: Dataset, root: Path, *, sha256: str | None = None) -> Instance:
    """What the store is told of an object; its file need not exist."""
    name = f"{dataset.SOPInstanceUID}.dcm"
    digest = hashlib.sha256(str(dataset.SOPInstanceUID).encode()).hexdigest()
    return Instance(
        study_uid=str(dataset.StudyInstanceUID),
        series_uid=str(dataset.SeriesInstanceUID),
        sop_instance_uid=str(dataset.SOPInstanceUID),
        sop_class_uid=str(dataset.SOPClassUID),
        transfer_syntax_uid=str(ExplicitVRLittleEndian),
        path=root / "instances" / name,
        size=1000,
        sha256=digest if sha256 is None else sha256,
    )
