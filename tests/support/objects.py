"""Small DICOM objects for tests that care about transport, not content."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    ComprehensiveSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    generate_uid,
)

MANUFACTURER = "M3Bind PACS"
"""Manufacturer (0008,0070) of every report of this project."""


def _part10(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset("", dataset, file_meta=meta, preamble=b"\0" * 128)
    buffer = BytesIO()
    file.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _base(sop_class_uid: str, modality: str, study_uid: str, series_uid: str, sop_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = sop_uid
    dataset.StudyInstanceUID = study_uid
    dataset.SeriesInstanceUID = series_uid
    dataset.Modality = modality
    dataset.PatientName = "Test^Transport"
    dataset.PatientID = f"T{study_uid[-8:]}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = ""
    dataset.StudyID = "1"
    dataset.StudyDate = "20260101"
    dataset.StudyTime = "120000"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.InstanceNumber = 1
    dataset.SeriesNumber = 1
    return dataset


def image(
    study_uid: str, *, series_uid: str | None = None, sop_uid: str | None = None, side: int = 8
) -> bytes:
    """A secondary capture of `side` x `side` pixels of noise, as a Part 10 file."""
    dataset = _base(
        SecondaryCaptureImageStorage,
        "OT",
        study_uid,
        series_uid or generate_uid(),
        sop_uid or generate_uid(),
    )
    dataset.Manufacturer = "Somebody"
    dataset.ConversionType = "WSD"
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit = 7
    dataset.PixelRepresentation = 0
    pixels = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    dataset.PixelData = pixels.tobytes()
    return _part10(dataset)


def report(
    study_uid: str,
    *,
    sop_uid: str | None = None,
    sop_class_uid: str = ComprehensiveSRStorage,
    manufacturer: str = MANUFACTURER,
) -> bytes:
    """An SR with one text item, as a Part 10 file."""
    dataset = _base(sop_class_uid, "SR", study_uid, generate_uid(), sop_uid or generate_uid())
    dataset.Manufacturer = manufacturer
    dataset.SeriesDescription = "Report"
    dataset.ContentDate = "20260101"
    dataset.ContentTime = "120000"
    dataset.CompletionFlag = "COMPLETE"
    dataset.VerificationFlag = "UNVERIFIED"
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.PerformedProcedureCodeSequence = []
    dataset.ValueType = "CONTAINER"
    dataset.ContinuityOfContent = "SEPARATE"
    dataset.ConceptNameCodeSequence = [_code("126000", "DCM", "Imaging Measurement Report")]
    text = Dataset()
    text.RelationshipType = "CONTAINS"
    text.ValueType = "TEXT"
    text.ConceptNameCodeSequence = [_code("121106", "DCM", "Comment")]
    text.TextValue = "Made by a test"
    dataset.ContentSequence = [text]
    return _part10(dataset)


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = scheme
    code.CodeMeaning = meaning
    return code
