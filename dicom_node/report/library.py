"""The image library of a report: which images were read, and what a reader needs to know of them.

TID 1600 (part16/sect_TID_1600.html) with entries of TID 1601 and descriptors of TID 1602 to 1604. Every
descriptor but the modality is optional there: what a source does not tell (a radiograph without Imager
Pixel Spacing) is left out, never invented. Waveforms cannot be entries: TID 1601 knows IMAGE alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    NumContentItem,
    RelationshipTypeValues,
    UIDRefContentItem,
)
from pydicom.dataset import Dataset

from dicom_node.records import Code
from dicom_node.report import codes
from dicom_node.report.concepts import concept

ACQUISITION = RelationshipTypeValues.HAS_ACQ_CONTEXT
CONTAINS = RelationshipTypeValues.CONTAINS


def image_library(images: Sequence[Dataset]) -> ContainerContentItem | None:
    """TID 1600 row 1, with one group (row 2) for each modality and frame of reference.

    None without images of a modality that CID 29 knows.
    """
    groups: dict[tuple[str, str], list[Dataset]] = {}
    for image in images:
        if image.get("Modality") in codes.ACQUISITION_MODALITIES:
            key = (str(image.Modality), str(image.get("FrameOfReferenceUID") or ""))
            groups.setdefault(key, []).append(image)
    if not groups:
        return None
    library = ContainerContentItem(name=concept(codes.IMAGE_LIBRARY), relationship_type=CONTAINS)
    library.ContentSequence = ContentSequence([_group(*key, groups[key]) for key in sorted(groups)])
    return library


def _group(modality: str, frame_of_reference: str, images: Sequence[Dataset]) -> ContainerContentItem:
    """TID 1600 row 2: what all images of the group share stands once (row 3, TID 1602)."""
    group = ContainerContentItem(name=concept(codes.IMAGE_LIBRARY_GROUP), relationship_type=CONTAINS)
    items: list[ContentItem] = [
        CodeContentItem(
            name=concept(codes.MODALITY),
            value=concept(codes.ACQUISITION_MODALITIES[modality]),
            relationship_type=ACQUISITION,
        )
    ]
    if frame_of_reference:
        items.append(
            UIDRefContentItem(
                name=concept(codes.FRAME_OF_REFERENCE_UID),
                value=frame_of_reference,
                relationship_type=ACQUISITION,
            )
        )
    group.ContentSequence = ContentSequence([*items, *(_entry(image) for image in images)])
    return group


def _entry(image: Dataset) -> ImageContentItem:
    """TID 1601 row 1 with the descriptors of this one image."""
    entry = ImageContentItem(
        name=concept(codes.SOURCE),
        referenced_sop_class_uid=str(image.SOPClassUID),
        referenced_sop_instance_uid=str(image.SOPInstanceUID),
        relationship_type=CONTAINS,
    )
    descriptors = _descriptors(image)
    if descriptors:
        entry.ContentSequence = ContentSequence(descriptors)
    return entry


def _descriptors(image: Dataset) -> list[ContentItem]:
    """TID 1602, 1603 (spacing at the detector) and 1604 (spacing and position in the patient)."""
    items: list[ContentItem] = []
    laterality = codes.LATERALITIES.get(str(image.get("ImageLaterality") or image.get("Laterality") or ""))
    if laterality is not None:
        items.append(
            CodeContentItem(
                name=concept(codes.IMAGE_LATERALITY), value=concept(laterality), relationship_type=ACQUISITION
            )
        )
    for keyword, name in (("Rows", codes.PIXEL_ROWS), ("Columns", codes.PIXEL_COLUMNS)):
        if image.get(keyword):
            items.append(_number(name, int(image[keyword].value), codes.PIXELS))
    spacing = (
        image.get("PixelSpacing") if "ImagePositionPatient" in image else image.get("ImagerPixelSpacing")
    )
    if spacing and len(spacing) == 2 and min(spacing) > 0:
        items.append(_number(codes.HORIZONTAL_SPACING, float(spacing[1]), codes.MILLIMETER))
        items.append(_number(codes.VERTICAL_SPACING, float(spacing[0]), codes.MILLIMETER))
    if image.get("SliceThickness"):
        items.append(_number(codes.SLICE_THICKNESS, float(image.SliceThickness), codes.MILLIMETER))
    position = image.get("ImagePositionPatient")
    if position and len(position) == 3:
        for name, value in zip(codes.IMAGE_POSITION, position, strict=True):
            items.append(_number(name, float(value), codes.MILLIMETER))
    return items


def _number(name: Code, value: float, unit: Code) -> NumContentItem:
    return NumContentItem(name=concept(name), value=value, unit=concept(unit), relationship_type=ACQUISITION)
