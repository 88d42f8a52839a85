"""The sample studies that ship with the node, one per modality, and one that only the tests have."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread

from tests.support.tree import ROOT

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
TEST_SAMPLES = ROOT / "tests" / "samples"
OTHER_TISSUE = TEST_SAMPLES / "other_tissue_slide"
"""A real slide of skin, which the shipped bundle was not made for: full size in RGB, a level in YCbCr."""
MODALITIES = ("xray", "ct", "retina", "ecg", "pathology")
AS_IT_IS = ("-xy",)
"""Option of storescu that sends the JPEG of the retina and pathology samples as it is."""


def sample_files(modality: str) -> list[Path]:
    """The objects of one sample study."""
    return sorted((SAMPLES / modality).glob("*.dcm"))


def sample_header(modality: str) -> Dataset:
    """The first object of one sample study, without pixels."""
    return dcmread(sample_files(modality)[0], stop_before_pixels=True)


def sample_uid(modality: str) -> str:
    """Study Instance UID of one sample study."""
    return str(sample_header(modality).StudyInstanceUID)
