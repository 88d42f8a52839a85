"""Every coded concept that a report uses, once, with where it comes from.

Schemes: DCM is PS3.16 Annex D, SCT is SNOMED CT, UCUM the units, LN is LOINC, UMLS as PS3.16 uses it.
TID and CID are the templates and context groups of PS3.16, e.g. `part16/sect_TID_1500.html`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dicom_node.records import CT, ECG, RETINA, XRAY, Code, Presence

ENGLISH = Code("en-US", "RFC5646", "English (United States)")
"""CID 5000 Language."""

# TID 1500 Measurement Report: the root and its containers.
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
"""CID 7021; viewers know an imaging report by this title."""
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
"""TID 1500 row 4."""
IMAGING_MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
"""TID 1500 row 6."""
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
"""TID 1500 row 12, which may hold TEXT (row 14)."""
COMMENT = Code("121106", "DCM", "Comment")
"""Concept name of a TEXT in row 14."""

# TID 1501: one group per finding.
FINDING = Code("121071", "DCM", "Finding")
"""Row 3b of both."""
PRESENCE = Code("705057003", "SCT", "Presence")
"""Question of the qualitative evaluation of a group (TID 1501 row 11); CID 240 answers it."""
PRESENCE_OF_PROPERTY = Code("121052", "DCM", "Presence of property")
"""TID 1350 Negation Modifier: says of the concept above it whether it is there; CID 240 answers it."""
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")
PRESENCE_VALUES: Mapping[Presence, Code] = MappingProxyType(
    {Presence.PRESENT: PRESENT, Presence.ABSENT: ABSENT, Presence.UNSURE: UNDETERMINED}
)
"""CID 240 Present-Absent."""
PRESENCE_WORDS: Mapping[Presence, str] = MappingProxyType(
    {Presence.PRESENT: "present", Presence.ABSENT: "not detected", Presence.UNSURE: "undetermined"}
)
"""What people read. CID 240 has no code for "not detected", which is all that a model can say."""
SIDE_WORDS: Mapping[str, str] = MappingProxyType({"L": "left", "R": "right", "B": "both sides"})
PROBABILITY = Code("122157", "DCM", "Probability")
"""Name of the NUM. (111047, DCM) is the probability of cancer and (111012, DCM) how certain a device is of
a finding that it made: neither can be said of a finding that is absent."""
PERCENT = Code("%", "UCUM", "%")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
"""CID 7551: purpose of reference of images, waveforms and coordinates of a group."""
LATERALITIES: Mapping[str, Code] = MappingProxyType(
    {
        "L": Code("7771000", "SCT", "Left"),
        "R": Code("24028007", "SCT", "Right"),
        "B": Code("51440002", "SCT", "Bilateral"),
    }
)
"""CID 244 Laterality, by the letters of `Finding.laterality`."""

# TID 1600 Image Library and TID 1602 to 1604, its descriptors.
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
SOURCE = Code("260753009", "SCT", "Source")
"""TID 1601 row 1 leaves the name of an entry open."""
MODALITY = Code("121139", "DCM", "Modality")
FRAME_OF_REFERENCE_UID = Code("112227", "DCM", "Frame of Reference UID")
IMAGE_LATERALITY = Code("111027", "DCM", "Image Laterality")
PIXEL_ROWS = Code("110910", "DCM", "Pixel Data Rows")
PIXEL_COLUMNS = Code("110911", "DCM", "Pixel Data Columns")
HORIZONTAL_SPACING = Code("111026", "DCM", "Horizontal Pixel Spacing")
VERTICAL_SPACING = Code("111066", "DCM", "Vertical Pixel Spacing")
SLICE_THICKNESS = Code("112225", "DCM", "Slice Thickness")
PIXELS = Code("{pixels}", "UCUM", "pixels")
MILLIMETER = Code("mm", "UCUM", "mm")

# What a modality id of format v1 stands for.
CHEST = Code("51185008", "SCT", "Chest")
SITES: Mapping[str, Code] = MappingProxyType(
    {
        XRAY: CHEST,
        CT: CHEST,
        RETINA: Code("5665001", "SCT", "Retina"),
        ECG: Code("80891009", "SCT", "Heart"),
    }
)
"""Finding site (TID 1501 row 6) by modality id: CID 4031, CID 4209. A slide is not in the
table: the site of a specimen is told by its own data set, or not at all."""

IMAGING_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
PROCEDURES: Mapping[str, Code] = MappingProxyType(
    {
        CT: Code("25045-6", "LN", "CT unspecified body region"),
    }
)
"""Procedure reported (CID 100), by modality id; every other one is an `IMAGING_PROCEDURE`.

Validators hold the row to CID 100, which knows few procedures and none of an ECG. What exactly was done
stands in the Procedure Code Sequence, which the report takes over from its sources."""

ACQUISITION_MODALITIES: Mapping[str, Code] = MappingProxyType(
    {
        "CR": Code("CR", "DCM", "Computed Radiography"),
        "CT": Code("CT", "DCM", "Computed Tomography"),
        "DX": Code("DX", "DCM", "Digital Radiography"),
        "MR": Code("MR", "DCM", "Magnetic Resonance"),
        "OP": Code("OP", "DCM", "Ophthalmic Photography"),
        "OPT": Code("OPT", "DCM", "Ophthalmic Tomography"),
        "OT": Code("OT", "DCM", "Other Modality"),
        "RG": Code("RG", "DCM", "Radiographic imaging"),
        "SM": Code("SM", "DCM", "Slide Microscopy"),
        "XC": Code("XC", "DCM", "External-camera Photography"),
    }
)
"""CID 29 Acquisition Modality, by the value of (0008,0060); of CID 32 only OT."""
