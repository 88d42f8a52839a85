"""Which reader reads what: a table from SOP class, modality, anatomy and image type.

The first row that fits an object decides. `dicom-node explain FILE` shows which one that was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pydicom import Dataset
from pydicom.uid import (
    UID,
    AmbulatoryECGWaveformStorage,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EnhancedCTImageStorage,
    GeneralECGWaveformStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    OphthalmicPhotography8BitImageStorage,
    OphthalmicPhotography16BitImageStorage,
    SecondaryCaptureImageStorage,
    TwelveLeadECGWaveformStorage,
    VLPhotographicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
    XRayRadiofluoroscopicImageStorage,
)

from dicom_node.pixels.ground import in_capitals, items, text, texts
from dicom_node.records import CT, XRAY

ReaderName = Literal["radiograph", "ct", "retina", "ecg", "slide"]

EYE = frozenset({"81745001", "5665001", "T-AA000", "T-AA610"})
"""Eye and retina as Anatomic Region (PS3.16 CID 4209 and before it), in SNOMED CT and SNOMED RT."""
CHEST = frozenset({"51185008", "816094009", "39607008", "T-D3000", "T-28000"})
"""Thorax, chest and lung likewise (PS3.16 CID 4009 and before it)."""
CHEST_WORDS = (
    "CHEST",
    "THORA",
    "TORAX",
    "TORAC",
    "TORAKS",
    "LUNG",
    "PULM",
    "MEDIASTIN",
    "BRUST",
    "BORST",
    "BROST",
    "POUMON",
    "POLMON",
    "PECHO",
    "PEITO",
    "PETTO",
    "PIERSIOW",
    "PLUC",
    "HRUDN",
    "MELLKAS",
    "AKCIGER",
    "GOGUS",
    "KEUHKO",
    "RINTAKEH",
    "ГРУД",
    "ЛЕГК",
    "TRUNK",
    "BODY",
    "胸",
    "흉",
)
"""Of Body Part Examined, without accents."""
BODY_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType({XRAY: CHEST_WORDS, CT: CHEST_WORDS})
"""By modality id of format v1: what Body Part Examined (0018,0015) contains where it is told at all. Its
terms are defined (PS3.16 annex L: CHEST, CHESTABDOMEN, NECKCHEST ...), but devices write their own words. An
object that tells none is left to the scope test."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row. Every condition that is given must hold; an empty one always does."""

    classes: tuple[UID, ...]
    reader: ReaderName | None
    """None: it is refused, with `reason` and `message`."""
    modalities: tuple[str, ...] = ()
    """Of Modality (0008,0060)."""
    anatomy: Literal["", "eye", "chest"] = ""
    image_type: str = ""
    """A value of Image Type (0008,0008)."""
    reason: str = ""
    message: str = ""

    def fits(self, sop_class: str, header: Dataset) -> bool:
        """Whether this row decides."""
        return (
            sop_class in self.classes
            and (not self.modalities or text(header, "Modality") in self.modalities)
            and (not self.image_type or self.image_type in texts(header, "ImageType"))
            and (not self.anatomy or shows(header, self.anatomy))
        )

    @property
    def words(self) -> str:
        """The row for people."""
        said = [", ".join(uid.name for uid in self.classes)]
        if self.modalities:
            said.append(f"Modality {' or '.join(self.modalities)}")
        if self.image_type:
            said.append(f"Image Type with {self.image_type}")
        if self.anatomy:
            said.append(f"anatomy: {self.anatomy}")
        return "; ".join(said)


_CAPTURES = (
    SecondaryCaptureImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

_EYE_BUT_NO_PHOTOGRAPH = (
    "OPT",
    "OPTENF",
    "OPTBSV",
    "OPM",
    "OPV",
    "OCT",
    "IVOCT",
    "OAM",
    "AR",
    "KER",
    "LEN",
    "SRF",
    "US",
)
"""Of Modality (PS3.3 C.7.3.1.1.1)."""
ECG_CLASSES = (TwelveLeadECGWaveformStorage, GeneralECGWaveformStorage, AmbulatoryECGWaveformStorage)

RULES: Sequence[Rule] = (
    Rule((ComputedRadiographyImageStorage, DigitalXRayImageStorageForPresentation), "radiograph"),
    Rule((DigitalXRayImageStorageForProcessing,), "radiograph"),
    Rule((XRayRadiofluoroscopicImageStorage,), "radiograph", anatomy="chest"),
    Rule(
        (XRayRadiofluoroscopicImageStorage,),
        None,
        reason="fluoroscopy",
        message="A fluoroscopy image is read when it says that it shows the chest.",
    ),
    Rule(
        (CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage),
        None,
        image_type="LOCALIZER",
        reason="localizer",
        message="It is a localiser (scout view), no axial slice.",
    ),
    Rule((CTImageStorage, EnhancedCTImageStorage, LegacyConvertedEnhancedCTImageStorage), "ct"),
    Rule((OphthalmicPhotography8BitImageStorage, OphthalmicPhotography16BitImageStorage), "retina"),
    Rule(
        (*_CAPTURES, VLPhotographicImageStorage),
        None,
        modalities=_EYE_BUT_NO_PHOTOGRAPH,
        reason="not-a-photograph",
        message="It is a tomogram, a map or a measurement of the eye, no photograph of the fundus.",
    ),
    Rule(_CAPTURES, "retina", modalities=("OP",)),
    Rule(_CAPTURES, "retina", anatomy="eye"),
    Rule(_CAPTURES, "radiograph", modalities=("CR", "DX", "RG")),
    Rule(
        _CAPTURES,
        None,
        reason="secondary-capture",
        message="A secondary capture that says neither radiograph nor fundus photograph is not read.",
    ),
    Rule((VLPhotographicImageStorage,), "retina", modalities=("OP",)),
    Rule((VLPhotographicImageStorage,), "retina", anatomy="eye"),
    Rule(
        (VLPhotographicImageStorage,),
        None,
        reason="not-an-eye",
        message="Photographs are read when they say that they show an eye.",
    ),
    Rule(ECG_CLASSES, "ecg"),
    Rule((VLWholeSlideMicroscopyImageStorage,), "slide"),
)

NO_IMAGE: Mapping[str, str] = MappingProxyType(
    {
        "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
        "1.2.840.10008.5.1.4.1.1.66": "a segmentation, registration or raw data",
        "1.2.840.10008.5.1.4.1.1.67": "a real world value mapping",
        "1.2.840.10008.5.1.4.1.1.68.": "a surface",
        "1.2.840.10008.5.1.4.1.1.88.": "a structured report or key object selection",
        "1.2.840.10008.5.1.4.1.1.91.": "an annotation",
        "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
        "1.2.840.10008.5.1.4.1.1.481.": "a radiotherapy object",
    }
)
"""Families of SOP classes (PS3.4 table B.5-1) that never hold what an encoder takes."""

READ_CLASSES = frozenset(uid for rule in RULES for uid in rule.classes)


def shows(header: Dataset, anatomy: Literal["eye", "chest"]) -> bool:
    """Whether the object says, in a coded or defined term, that it shows an eye, or the chest."""
    codes = {text(item, "CodeValue") for item in items(header, "AnatomicRegionSequence")}
    part = in_capitals(text(header, "BodyPartExamined"))
    if anatomy == "eye":
        return part in ("EYE", "RETINA") or bool(codes & EYE)
    return any(word in part for word in CHEST_WORDS) or bool(codes & CHEST)


def rule_for(sop_class: str, header: Dataset) -> Rule | None:
    """The row that decides on an object; None where the class is in no row."""
    return next((rule for rule in RULES if rule.fits(sop_class, header)), None)
