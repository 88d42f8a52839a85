"""To read the content tree of a report in tests: items by the code of their name."""

from __future__ import annotations

import io
from collections.abc import Iterator

from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.records import Code

MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
LATERALITY = Code("272741003", "SCT", "Laterality")


def reread(part10: bytes) -> Dataset:
    """What a receiver sees."""
    return dcmread(io.BytesIO(part10))


def name_of(item: Dataset) -> tuple[str, str]:
    """Value and scheme of the concept name."""
    name = item.ConceptNameCodeSequence[0]
    return str(name.get("CodeValue") or name.LongCodeValue), str(name.CodingSchemeDesignator)


def children(item: Dataset, code: Code) -> list[Dataset]:
    """The direct content items of this name."""
    return [c for c in item.get("ContentSequence") or () if name_of(c) == (code.value, code.scheme)]


def only(item: Dataset, code: Code) -> Dataset:
    """The one content item of this name."""
    (found,) = children(item, code)
    return found


def value_of(item: Dataset) -> object:
    """What the item says, by value type: a code as (value, scheme), a number with its unit, a text, a UID."""
    if item.ValueType == "CODE":
        code = item.ConceptCodeSequence[0]
        return str(code.get("CodeValue") or code.LongCodeValue), str(code.CodingSchemeDesignator)
    if item.ValueType == "NUM":
        measured = item.MeasuredValueSequence[0]
        return float(measured.NumericValue), str(measured.MeasurementUnitsCodeSequence[0].CodeValue)
    return item.TextValue if item.ValueType == "TEXT" else item.UID


def walk(item: Dataset) -> Iterator[Dataset]:
    """The item and everything below it."""
    yield item
    for child in item.get("ContentSequence") or ():
        yield from walk(child)


def referenced_instances(report: Dataset) -> set[str]:
    """SOP Instance UIDs that the content refers to."""
    return {
        str(reference.ReferencedSOPInstanceUID)
        for item in walk(report)
        for reference in item.get("ReferencedSOPSequence") or ()
    }


def listed_instances(hierarchy: list[Dataset]) -> set[tuple[str, str, str]]:
    """(study, series, instance) of a Hierarchical SOP Instance Reference macro."""
    return {
        (str(study.StudyInstanceUID), str(series.SeriesInstanceUID), str(instance.ReferencedSOPInstanceUID))
        for study in hierarchy
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
