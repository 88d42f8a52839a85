"""The image library of a report: which images were read, and what a reader needs to know of them.

TID 1600 (part16/sect_TID_1600.html) with entries of TID 1601 and descriptors of TID 1602 to 1604. Every
descriptor but the modality is optional there: what a source does not tell (a radiograph without Imager
Pixel Spacing) is left out, never invented, and what every image has a value of its own for (its position)
is left to the image: a series of 300 slices would make a report of 600 KB and three seconds.
Waveforms cannot be entries: TID 1601 knows IMAGE alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

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


Describe = Callable[[], ContentItem]
"""Makes the content item of a descriptor: only those that are used are made."""


def image_library(images: Sequence[Dataset]) -> ContainerContentItem | None:
    """TID 1600 row 1, with one group (row 2) for each modality and frame of reference.

    None without images of a modality that CID 29 knows; what has no rows is no image.
    """
    groups: dict[tuple[str, str], list[Dataset]] = {}
    for image in images:
        if image.get("Rows") and image.get("Modality") in codes.ACQUISITION_MODALITIES:
            key = (str(image.Modality), str(image.get("FrameOfReferenceUID") or ""))
            groups.setdefault(key, []).append(image)
    if not groups:
        return None
    library = ContainerContentItem(name=concept(codes.IMAGE_LIBRARY), relationship_type=CONTAINS)
    library.ContentSequence = ContentSequence([_group(*key, groups[key]) for key in sorted(groups)])
    return library


def _group(modality: str, frame_of_reference: str, images: Sequence[Dataset]) -> ContainerContentItem:
    """TID 1600 row 2: a descriptor that holds for all images stands once (row 3), any other at its image."""
    facts = [_descriptors(image) for image in images]
    shared = {key for key in facts[0] if all(key in others for others in facts)}
    items: list[ContentItem] = [_code(codes.MODALITY, codes.ACQUISITION_MODALITIES[modality])]
    if frame_of_reference:
        name = concept(codes.FRAME_OF_REFERENCE_UID)
        items.append(UIDRefContentItem(name=name, value=frame_of_reference, relationship_type=ACQUISITION))
    items.extend(describe() for key, describe in facts[0].items() if key in shared)
    for image, own in zip(images, facts, strict=True):
        items.append(_entry(image, [describe() for key, describe in own.items() if key not in shared]))
    group = ContainerContentItem(name=concept(codes.IMAGE_LIBRARY_GROUP), relationship_type=CONTAINS)
    group.ContentSequence = ContentSequence(items)
    return group


def _entry(image: Dataset, descriptors: Sequence[ContentItem]) -> ImageContentItem:
    """TID 1601 row 1."""
    entry = ImageContentItem(
        name=concept(codes.SOURCE),
        referenced_sop_class_uid=str(image.SOPClassUID),
        referenced_sop_instance_uid=str(image.SOPInstanceUID),
        relationship_type=CONTAINS,
    )
    if descriptors:
        entry.ContentSequence = ContentSequence(descriptors)
    return entry


def _descriptors(image: Dataset) -> Mapping[tuple[str, object], Describe]:
    """TID 1602, and the spacing of TID 1603 (at the detector) or 1604 (in the patient), by code and value."""
    facts: dict[tuple[str, object], Describe] = {}
    side = str(image.get("ImageLaterality") or image.get("Laterality") or "")
    if side in codes.LATERALITIES:
        facts["laterality", side] = partial(_code, codes.IMAGE_LATERALITY, codes.LATERALITIES[side])
    numbers: list[tuple[Code, object, Code]] = [
        (codes.PIXEL_ROWS, image.get("Rows"), codes.PIXELS),
        (codes.PIXEL_COLUMNS, image.get("Columns"), codes.PIXELS),
        (codes.SLICE_THICKNESS, image.get("SliceThickness"), codes.MILLIMETER),
    ]
    spacing = image.get("PixelSpacing" if "ImagePositionPatient" in image else "ImagerPixelSpacing")
    if spacing and len(spacing) == 2 and min(spacing) > 0:
        numbers.append((codes.HORIZONTAL_SPACING, spacing[1], codes.MILLIMETER))
        numbers.append((codes.VERTICAL_SPACING, spacing[0], codes.MILLIMETER))
    for name, value, unit in numbers:
        if isinstance(value, int | float) and value > 0:
            number = value if isinstance(value, int) else float(value)
            facts[name.value, number] = partial(_number, name, number, unit)
    return facts


def _code(name: Code, value: Code) -> CodeContentItem:
    return CodeContentItem(name=concept(name), value=concept(value), relationship_type=ACQUISITION)


def _number(name: Code, value: float, unit: Code) -> NumContentItem:
    return NumContentItem(name=concept(name), value=value, unit=concept(unit), relationship_type=ACQUISITION)
