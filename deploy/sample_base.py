"""What all sample studies share: invented patients, stable UIDs, files that are the same bytes every time."""

from __future__ import annotations

import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

# Name space of every derived UID: a version 5 UUID of this project's method paper.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://arxiv.org/abs/2506.18072#m3bind-samples")


@dataclass(frozen=True)
class Person:
    """An invented patient. Sex and age, where told, are those of the source record."""

    name: str
    patient_id: str
    birth_date: str
    sex: str
    age: str = ""


def derived_uid(*key: str) -> UID:
    """A UID under 2.25 (PS3.5 B.2) that depends on nothing but the key."""
    return UID(f"2.25.{uuid.uuid5(NAMESPACE, '/'.join(key)).int}")


def code(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence (PS3.3 section 8.8)."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def sequence(*items: Dataset) -> Sequence:
    """A sequence of these items."""
    return Sequence(items)


def new_object(
    study: str, series: str, number: int, sop_class: UID, syntax: UID, person: Person, modality: str
) -> Dataset:
    """Patient, study, series, equipment and SOP common modules of one sample instance."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = sop_class
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.ImplementationClassUID = derived_uid("implementation")
    ds.file_meta.ImplementationVersionName = "M3BIND_SAMPLES"
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = derived_uid(study, series, str(number))
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.PatientName = person.name
    ds.PatientID = person.patient_id
    ds.PatientBirthDate = person.birth_date
    ds.PatientSex = person.sex
    if person.age:
        ds.PatientAge = person.age
    ds.PatientIdentityRemoved = "YES"
    ds.DeidentificationMethod = "Public research data, identity invented for demonstration"
    ds.StudyInstanceUID = derived_uid(study)
    ds.StudyDate = ds.SeriesDate = ds.ContentDate = ds.AcquisitionDate = "20240229"
    ds.StudyTime = ds.SeriesTime = ds.ContentTime = ds.AcquisitionTime = "120000"
    ds.AccessionNumber = f"DEMO-{study.upper()}"[:16]
    ds.StudyID = "DEMO"
    ds.ReferringPhysicianName = None
    ds.SeriesInstanceUID = derived_uid(study, series)
    ds.SeriesNumber = 1
    ds.InstanceNumber = number
    ds.Modality = modality
    ds.Manufacturer = None
    return ds


def set_pixels(ds: Dataset, rows: int, columns: int, photometric: str, bits: int, allocated: int) -> None:
    """Image Pixel module without the pixels; unsigned, interleaved."""
    ds.SamplesPerPixel = 1 if photometric.startswith("MONOCHROME") else 3
    if ds.SamplesPerPixel == 3:
        ds.PlanarConfiguration = 0
    ds.PhotometricInterpretation = photometric
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, bits, bits - 1
    ds.PixelRepresentation = 0


def set_lossy(ds: Dataset, ratio: float) -> None:
    """The pixels went through JPEG at some time (PS3.3 C.7.6.1.1.5)."""
    ds.LossyImageCompression = "01"
    ds.LossyImageCompressionRatio = f"{ratio:.2f}"
    ds.LossyImageCompressionMethod = "ISO_10918_1"


def save(ds: Dataset, path: Path) -> None:
    """Write a Part 10 file, and stop if dciodvfy finds an error in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    errors = find_errors(path)
    if errors:
        raise SystemExit(f"{path.name} is not conformant:\n" + "\n".join(errors))


def find_errors(path: Path) -> list[str]:
    """The lines of `dciodvfy -new` (dicom3tools) that tell an error."""
    told = subprocess.run(  # noqa: S603 - the path is our own
        ["dciodvfy", "-new", str(path)],  # noqa: S607 - wherever Debian or the user put it
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in (told.stdout + told.stderr).splitlines() if line.startswith("Error")]
