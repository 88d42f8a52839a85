"""Headers of realistic sources, as readers keep them: no pixels, no waveforms. Patients are invented."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    OphthalmicPhotography8BitImageStorage,
    TwelveLeadECGWaveformStorage,
    VLWholeSlideMicroscopyImageStorage,
)

ROOT = "1.2.826.0.1.3680043.8.498.77"
STUDY = f"{ROOT}.1"


def code_item(value: str, scheme: str, meaning: str) -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue = value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = meaning
    return item


def common(sop_class: str, modality: str, series: int, instance: int) -> Dataset:
    """Patient, study, series and SOP Common of an ordinary hospital object."""
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.SOPClassUID = sop_class
    header.SOPInstanceUID = f"{STUDY}.{series}.{instance}"
    header.StudyInstanceUID = STUDY
    header.SeriesInstanceUID = f"{STUDY}.{series}"
    header.PatientName = "Müller^Jörg"
    header.PatientID = "P-0001"
    header.IssuerOfPatientID = "GENERAL"
    header.PatientBirthDate = "19500317"
    header.PatientSex = "M"
    header.PatientAge = "075Y"
    header.StudyDate = "20251103"
    header.StudyTime = "141500"
    header.StudyID = "S17"
    header.StudyDescription = "Routine"
    header.AccessionNumber = "A-4711"
    header.ReferringPhysicianName = "Dupont^Renée"
    header.Modality = modality
    header.SeriesNumber = series
    header.InstanceNumber = instance
    header.Manufacturer = "Maker"
    header.BodyPartExamined = "CHEST"
    return header


def image(header: Dataset, rows: int, columns: int) -> Dataset:
    """Image Pixel module without pixels."""
    header.Rows = rows
    header.Columns = columns
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated = 16
    header.BitsStored = 12
    return header


def cr() -> list[Dataset]:
    """A radiograph of 2048 rows by 1760 columns, with spacing and a request."""
    header = image(common(ComputedRadiographyImageStorage, "CR", 1, 1), 2048, 1760)
    header.ImagerPixelSpacing = [0.2, 0.2]
    header.ViewPosition = "PA"
    request = Dataset()
    request.RequestedProcedureID = "RP-9"
    request.RequestedProcedureDescription = "Chest"
    request.RequestedProcedureCodeSequence = [code_item("399208008", "SCT", "Plain chest X-ray")]
    request.ScheduledProcedureStepID = "SPS-1"
    header.RequestAttributesSequence = [request]
    header.ProcedureCodeSequence = [code_item("399208008", "SCT", "Plain chest X-ray")]
    return [header]


def dx() -> list[Dataset]:
    """A radiograph that does not tell the spacing at its detector."""
    header = image(common(DigitalXRayImageStorageForPresentation, "DX", 1, 1), 1024, 1024)
    header.ViewPosition = "AP"
    return [header]


def ct(slices: int = 6) -> list[Dataset]:
    """An axial series of 512 by 512, slice by slice."""
    headers = []
    for number in range(1, slices + 1):
        header = image(common(CTImageStorage, "CT", 2, number), 512, 512)
        header.FrameOfReferenceUID = f"{STUDY}.2.0"
        header.PixelSpacing = [0.7, 0.7]
        header.SliceThickness = 2.5
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.ImagePositionPatient = [-179.0, -179.0, -2.5 * number]
        headers.append(header)
    return headers


def op() -> list[Dataset]:
    """Photographs of both eyes, 8 bit, which is a multi-frame object with one frame."""
    headers = []
    for number, side in ((1, "R"), (2, "L")):
        header = image(common(OphthalmicPhotography8BitImageStorage, "OP", 3, number), 1536, 2048)
        header.NumberOfFrames = 1
        header.ImageLaterality = side
        header.BodyPartExamined = "EYE"
        headers.append(header)
    return headers


def ecg() -> list[Dataset]:
    """Ten seconds of twelve leads: no image at all."""
    header = common(TwelveLeadECGWaveformStorage, "ECG", 4, 1)
    header.TimezoneOffsetFromUTC = "+0100"
    header.AcquisitionDateTime = "20251103141500"
    del header.BodyPartExamined
    return [header]


def sm() -> list[Dataset]:
    """A tiled slide of 2967 rows by 2220 columns, tiles of 240, one specimen of lung."""
    header = image(common(VLWholeSlideMicroscopyImageStorage, "SM", 5, 1), 240, 240)
    header.FrameOfReferenceUID = f"{STUDY}.5.0"
    header.TotalPixelMatrixColumns = 2220
    header.TotalPixelMatrixRows = 2967
    header.NumberOfFrames = 130
    header.DimensionOrganizationType = "TILED_FULL"
    header.ContainerIdentifier = "SLIDE-1"
    header.IssuerOfTheContainerIdentifierSequence = []
    specimen = Dataset()
    specimen.SpecimenIdentifier = "SLIDE-1-A"
    specimen.SpecimenUID = f"{STUDY}.5.99"
    specimen.IssuerOfTheSpecimenIdentifierSequence = []
    specimen.SpecimenPreparationSequence = []
    specimen.PrimaryAnatomicStructureSequence = [code_item("39607008", "SCT", "Lung")]
    header.SpecimenDescriptionSequence = [specimen]
    return [header]


SOURCES: dict[str, Callable[[], list[Dataset]]] = {
    "cr": cr,
    "dx": dx,
    "ct": ct,
    "op": op,
    "ecg": ecg,
    "sm": sm,
}
"""Every kind of source by a short name."""
