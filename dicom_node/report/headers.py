"""What a report takes over from the headers of its sources: patient, study, request, character set.

A report is a new series in the study of its sources, so the attributes of patient and study are theirs,
unaltered (PS3.3 A.1.4). All functions are pure and give the same whatever the order of the headers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from datetime import timedelta, timezone

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from dicom_node.errors import ReportError
from dicom_node.records import Code

UTF8 = "ISO_IR 192"

METHOD_NOT_STATED = "Not stated in the source objects"
"""(0012,0063), when the source says that identity was removed but not how."""

TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
    "StudyID",
    "AccessionNumber",
)
"""Patient (PS3.3 C.7.1.1) and General Study (C.7.2.1): present in every object, empty where unknown."""

_TYPE_3 = """
    IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence ReferencedPatientSequence
    SourcePatientGroupIdentificationSequence GroupOfPatientsIdentificationSequence PatientBirthTime
    PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar
    QualityControlSubject OtherPatientNames OtherPatientIDsSequence EthnicGroup EthnicGroupCodeSequence
    PatientComments PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence
    PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence
    BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization
    StrainDescription StrainNomenclature StrainStockSequence StrainAdditionalInformation StrainCodeSequence
    GeneticModificationsSequence

    ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    IssuerOfClinicalTrialProtocolID OtherClinicalTrialProtocolIDsSequence ClinicalTrialSiteID
    ClinicalTrialSiteName IssuerOfClinicalTrialSiteID ClinicalTrialSubjectID IssuerOfClinicalTrialSubjectID
    ClinicalTrialSubjectReadingID IssuerOfClinicalTrialSubjectReadingID
    ClinicalTrialProtocolEthicsCommitteeName ClinicalTrialProtocolEthicsCommitteeApprovalNumber
    ClinicalTrialTimePointID ClinicalTrialTimePointDescription LongitudinalTemporalOffsetFromEvent
    LongitudinalTemporalEventType ClinicalTrialTimePointTypeCodeSequence IssuerOfClinicalTrialTimePointID
    ConsentForClinicalTrialUseSequence

    IssuerOfAccessionNumberSequence ReferringPhysicianIdentificationSequence ConsultingPhysicianName
    ConsultingPhysicianIdentificationSequence StudyDescription ProcedureCodeSequence PhysiciansOfRecord
    PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence ReferencedStudySequence RequestingService
    RequestingServiceCodeSequence ReasonForPerformedProcedureCodeSequence

    AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence PatientAge PatientSize
    PatientSizeCodeSequence PatientBodyMassIndex MeasuredAPDimension MeasuredLateralDimension PatientWeight
    MedicalAlerts Allergies Occupation SmokingStatus AdditionalPatientHistory PregnancyStatus
    LastMenstrualDate PatientSexNeutered ReasonForVisit ReasonForVisitCodeSequence AdmissionID
    IssuerOfAdmissionIDSequence ServiceEpisodeID ServiceEpisodeDescription IssuerOfServiceEpisodeIDSequence
    PatientState
"""
TYPE_3 = tuple(_TYPE_3.split())
"""Patient (C.7.1.1), Clinical Trial Subject and Study (C.7.1.3, C.7.2.3), General Study (C.7.2.1) and Patient
Study (C.7.2.2): copied where the source has them."""

ANIMAL_TYPE_2 = (
    "PatientBreedDescription",
    "PatientBreedCodeSequence",
    "BreedRegistrationSequence",
    "ResponsiblePerson",
    "ResponsibleOrganization",
    "PatientSexNeutered",
)
"""Of the same modules, present for a patient with a species (type 2C)."""

REQUEST_TYPE_2 = (
    "AccessionNumber",
    "PlacerOrderNumberImagingServiceRequest",
    "FillerOrderNumberImagingServiceRequest",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
    "ReferencedStudySequence",
)
"""Referenced Request Sequence (PS3.3 C.17.2), empty where unknown."""

REQUEST_TYPE_3 = (
    "IssuerOfAccessionNumberSequence",
    "OrderPlacerIdentifierSequence",
    "OrderFillerIdentifierSequence",
    "ReasonForTheRequestedProcedure",
    "ReasonForRequestedProcedureCodeSequence",
)


def representatives(headers: Sequence[Dataset], study_uid: str) -> list[Dataset]:
    """One header of every series, in the order of their UIDs: enough for what holds of patient and study.

    Raises ReportError when there is none, or when one is of another study.
    """
    if not headers:
        raise ReportError("A report needs the headers of its sources: none were given")
    by_series: dict[str, Dataset] = {}
    for header in headers:
        if header.get("StudyInstanceUID") != study_uid:
            raise ReportError(f"A source header is not of study {study_uid}: report one study at a time")
        series = str(header.get("SeriesInstanceUID", ""))
        chosen = by_series.get(series)
        if chosen is None or str(header.SOPInstanceUID) < str(chosen.SOPInstanceUID):
            by_series[series] = header
    return [by_series[series] for series in sorted(by_series)]


def patient_and_study(headers: Sequence[Dataset]) -> Dataset:
    """The attributes of patient and study, each from the first header that tells it, text decoded.

    A source whose identity was removed without saying how gets `METHOD_NOT_STATED`: PS3.3 C.7.1.1
    requires the method, and the report inherits the flag.
    """
    told = Dataset()
    for keyword in (*TYPE_2, *TYPE_3):
        _copy_first(keyword, headers, told)
    _fill_empty(told, TYPE_2)
    if told.get("PatientSpeciesDescription") or told.get("PatientSpeciesCodeSequence"):
        _fill_empty(told, ANIMAL_TYPE_2)
    removed = told.get("PatientIdentityRemoved") == "YES"
    if (
        removed
        and not told.get("DeidentificationMethod")
        and not told.get("DeidentificationMethodCodeSequence")
    ):
        told.DeidentificationMethod = METHOD_NOT_STATED
    return told


def requests(headers: Sequence[Dataset], study_uid: str) -> list[Dataset]:
    """Items of the Referenced Request Sequence (PS3.3 C.17.2): one for each request that the sources name.

    From the Request Attributes Sequence of every series; where there is none, from the accession number.
    Empty when the sources name no request.
    """
    found: dict[tuple[str, ...], Dataset] = {}
    for header in headers:
        named = header.get("RequestAttributesSequence") or ([header] if header.get("AccessionNumber") else [])
        for request in named:
            item = _request_item(request, header, study_uid)
            key = (
                str(item.StudyInstanceUID),
                str(item.AccessionNumber or ""),
                str(item.RequestedProcedureID or ""),
            )
            found.setdefault(key, item)
    return [found[key] for key in sorted(found)]


def _request_item(request: Dataset, header: Dataset, study_uid: str) -> Dataset:
    """One request; what the item leaves open (accession, order numbers) is told by the header itself."""
    item = Dataset()
    item.StudyInstanceUID = request.get("StudyInstanceUID") or study_uid
    for keyword in (*REQUEST_TYPE_2, *REQUEST_TYPE_3):
        _copy_first(keyword, (request, header), item)
    _fill_empty(item, REQUEST_TYPE_2)
    return item


def _fill_empty(dataset: Dataset, keywords: Iterable[str]) -> None:
    """Attributes of type 2 that nobody tells are there, and empty (PS3.5 section 7.4.3)."""
    for keyword in keywords:
        if keyword not in dataset:
            setattr(dataset, keyword, [] if keyword.endswith("Sequence") else None)


def _copy_first(keyword: str, headers: Iterable[Dataset], into: Dataset) -> None:
    """The element of the first header in which it has a value, else of the first that has it at all."""
    found = [copied for header in headers if (copied := _copy(keyword, header)) is not None]
    if found:
        into.add(next((element for element in found if not element.is_empty), found[0]))


def _copy(keyword: str, header: Dataset) -> DataElement | None:
    """One element, its text decoded at every depth. None where the source has none, or one that is broken
    (of a length that its VR does not have): the report neither repairs it nor fails for it."""
    if keyword not in header:
        return None
    try:
        copied = deepcopy(header[keyword])
        if copied.VR == "SQ":
            for item in copied.value:
                item.decode()
    except (ValueError, TypeError, BytesLengthException):
        return None
    return copied if dictionary_VR(copied.tag) == copied.VR else None


def character_set(headers: Sequence[Dataset], own_text: Iterable[str]) -> str | list[str] | None:
    """Value of (0008,0005) for the report: that of the sources, so that names keep their very bytes.
    None where they name none: the attribute is then left out, for it must not be empty.

    UTF-8 instead when the sources differ among themselves, name a set that nobody knows, or when a text of
    our own is beyond ASCII, which not every set can hold.
    """
    sets = {tuple(_as_list(header.get("SpecificCharacterSet"))) for header in headers}
    chosen = sets.pop() if len(sets) == 1 else (UTF8,)
    if not all(name in python_encoding for name in chosen) or not all(text.isascii() for text in own_text):
        return UTF8
    if len(chosen) > 1:
        return list(chosen)
    return chosen[0] or None


def _as_list(value: object) -> list[str]:
    if value is None or value == "":
        return [""]
    if isinstance(value, str):
        return [value]
    return [str(part or "") for part in value]  # type: ignore[attr-defined]


def time_zone(headers: Sequence[Dataset]) -> timezone | None:
    """The zone of the sources' dates and times (0008,0201), which holds for every one in an object.

    None where they tell none or differ: the study date copied from them must not be moved by a guess.
    """
    told = {str(header.get("TimezoneOffsetFromUTC") or "") for header in headers}
    if len(told) != 1:
        return None
    value = told.pop()
    if len(value) != 5 or value[0] not in "+-" or not value[1:].isdigit():
        return None
    offset = timedelta(hours=int(value[1:3]), minutes=int(value[3:5]))
    if offset >= timedelta(hours=24):
        return None
    return timezone(-offset if value[0] == "-" else offset)


def specimen_site(header: Dataset) -> Code | None:
    """The anatomic structure that a slide's specimens come from (PS3.3 C.7.6.22), when there is but one."""
    sites = {
        code
        for specimen in header.get("SpecimenDescriptionSequence") or ()
        for item in specimen.get("PrimaryAnatomicStructureSequence") or ()
        if (code := coded(item)) is not None
    }
    return sites.pop() if len(sites) == 1 else None


def coded(item: Dataset) -> Code | None:
    """A Code Sequence item (PS3.3 section 8.8); None when it lacks value, scheme or meaning."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    scheme, meaning = item.get("CodingSchemeDesignator"), item.get("CodeMeaning")
    if not (value and scheme and meaning):
        return None
    return Code(str(value), str(scheme), str(meaning))
