"""The attributes that can be asked for, level by level: one table, for the register and for every door.

Levels and unique keys are those of PS3.4 tables C.6-1 to C.6-5; beyond the required keys stands what work
lists of real workstations ask for. Study Root knows no patient level: its patients' attributes count as the
study's (PS3.4 section C.6.2.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType

from pydicom.datadict import dictionary_VR, tag_for_keyword


class Level(IntEnum):
    """Of an entity, from the widest. The names are the values of Query/Retrieve Level (0008,0052)."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute that can be asked for."""

    tag: str
    """Eight hexadecimal digits, upper case, as in the DICOM JSON model (PS3.18 section F.2)."""
    keyword: str
    vr: str
    level: Level
    computed: bool = False
    """Counted or gathered over what lies below, not read from an object."""


UNIQUE: Mapping[Level, str] = MappingProxyType(
    {
        Level.PATIENT: "00100020",
        Level.STUDY: "0020000D",
        Level.SERIES: "0020000E",
        Level.IMAGE: "00080018",
    }
)
"""The unique key of each level."""

KEPT: Mapping[Level, str] = MappingProxyType(
    {
        Level.PATIENT: """
            PatientName PatientID IssuerOfPatientID TypeOfPatientID PatientBirthDate PatientBirthTime
            PatientSex OtherPatientIDs OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments
            PatientSpeciesDescription PatientBreedDescription ResponsiblePerson QualityControlSubject
            PatientIdentityRemoved
        """,
        Level.STUDY: """
            StudyDate StudyTime AccessionNumber IssuerOfAccessionNumberSequence StudyID StudyInstanceUID
            StudyDescription ReferringPhysicianName ReferringPhysicianIdentificationSequence
            ConsultingPhysicianName PhysiciansOfRecord NameOfPhysiciansReadingStudy
            AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence ProcedureCodeSequence
            ReasonForPerformedProcedureCodeSequence PatientAge PatientSize PatientWeight Occupation
            AdditionalPatientHistory MedicalAlerts Allergies PregnancyStatus AdmissionID ServiceEpisodeID
            ClinicalTrialProtocolID TimezoneOffsetFromUTC
        """,
        Level.SERIES: """
            Modality SeriesNumber SeriesInstanceUID SeriesDescription SeriesDescriptionCodeSequence SeriesDate
            SeriesTime PerformingPhysicianName OperatorsName ProtocolName BodyPartExamined
            AnatomicRegionSequence Laterality PatientPosition Manufacturer ManufacturerModelName
            DeviceSerialNumber StationName InstitutionName InstitutionalDepartmentName SoftwareVersions
            PerformedProcedureStepID PerformedProcedureStepDescription PerformedProcedureStepStartDate
            PerformedProcedureStepStartTime PerformedProtocolCodeSequence RequestAttributesSequence
            FrameOfReferenceUID ContrastBolusAgent
        """,
        Level.IMAGE: """
            SOPClassUID SOPInstanceUID InstanceNumber InstanceCreationDate InstanceCreationTime ImageType
            AcquisitionNumber AcquisitionDate AcquisitionTime AcquisitionDateTime ContentDate ContentTime
            ImageComments ImageLaterality ViewPosition ViewCodeSequence PatientOrientation NumberOfFrames Rows
            Columns BitsAllocated BitsStored SamplesPerPixel PhotometricInterpretation PixelSpacing
            ImagerPixelSpacing SliceThickness SliceLocation ImagePositionPatient ImageOrientationPatient
            ContainerIdentifier SpecimenDescriptionSequence TotalPixelMatrixColumns TotalPixelMatrixRows
            ConceptNameCodeSequence ContentTemplateSequence CompletionFlag VerificationFlag
            VerificationDateTime ReferencedRequestSequence ContentLabel ContentDescription ContentCreatorName
            PresentationCreationDate PresentationCreationTime DocumentTitle
            MIMETypeOfEncapsulatedDocument ObservationDateTime
        """,
    }
)
"""Attributes that are read from objects. Those of patient, study and series are the first object's; what it
lacks is filled in by later ones."""

COMPUTED: Mapping[Level, str] = MappingProxyType(
    {
        Level.PATIENT: """
            NumberOfPatientRelatedStudies NumberOfPatientRelatedSeries NumberOfPatientRelatedInstances
        """,
        Level.STUDY: """
            NumberOfStudyRelatedSeries NumberOfStudyRelatedInstances ModalitiesInStudy SOPClassesInStudy
        """,
        Level.SERIES: "NumberOfSeriesRelatedInstances",
        Level.IMAGE: "AvailableTransferSyntaxUID",
    }
)
"""Attributes that are told from what lies below, or from how an object is stored."""

RETRIEVE_AE_TITLE = "00080054"
INSTANCE_AVAILABILITY = "00080056"
QUERY_LEVEL = "00080052"
CHARACTER_SET = "00080005"
TIMEZONE = "00080201"
ABOUT_THE_ANSWER = frozenset({CHARACTER_SET, QUERY_LEVEL, RETRIEVE_AE_TITLE, INSTANCE_AVAILABILITY})
"""Tell how an identifier is to be read, or where an entity is kept: never matched."""


def tag_of(keyword: str) -> str:
    """Eight hexadecimal digits of an attribute of PS3.6."""
    number = tag_for_keyword(keyword)
    if number is None:
        raise ValueError(f"{keyword} is no attribute of PS3.6")
    return f"{number:08X}"


def _table() -> dict[str, Key]:
    keys = {}
    for words, computed in ((KEPT, False), (COMPUTED, True)):
        for level, keywords in words.items():
            for keyword in keywords.split():
                tag = tag_of(keyword)
                keys[tag] = Key(tag, keyword, dictionary_VR(keyword), level, computed)
    return keys


KEYS: Mapping[str, Key] = MappingProxyType(_table())
"""By tag."""
