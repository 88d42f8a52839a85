"""Which reader reads what: a table keyed by SOP Class UID, and `read_study`, which runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pydicom import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    DigitalXRayImageStorageForProcessing,
    EnhancedCTImageStorage,
    GeneralECGWaveformStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MultiFrameTrueColorSecondaryCaptureImageStorage,
    OphthalmicPhotography8BitImageStorage,
    OphthalmicPhotography16BitImageStorage,
    SecondaryCaptureImageStorage,
    TwelveLeadECGWaveformStorage,
    VLPhotographicImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import InputError, UnsupportedObjectError
from dicom_node.pixels import ct, ecg, radiograph, retina, slide
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.demand import least_side
from dicom_node.pixels.ground import Loaded, Task, items, load_header, skipped, text
from dicom_node.pixels.ops import compile_operations
from dicom_node.pixels.quiet import quiet
from dicom_node.records import CT, XRAY, Instance, Skipped, StudyRead, View

Reader = Callable[[Sequence[Loaded], Task], StudyRead]
"""Reads the objects of one kind in one study. Raises BundleFormatError, never InputError."""

READERS: Mapping[str, Reader] = {
    "radiograph": radiograph.read,
    "ct": ct.read,
    "retina": retina.read,
    "ecg": ecg.read,
    "slide": slide.read,
}
"""By `Encoder.reader`."""

_EYE = frozenset({"81745001", "5665001", "T-AA000", "T-AA610"})
"""Eye and retina as Anatomic Region (PS3.16 CID 4209 and before it), in SNOMED CT and SNOMED RT."""

_NO_IMAGE = {
    "1.2.840.10008.5.1.4.1.1.11.": "a presentation state",
    "1.2.840.10008.5.1.4.1.1.66": "a segmentation, registration or raw data",
    "1.2.840.10008.5.1.4.1.1.67": "a real world value mapping",
    "1.2.840.10008.5.1.4.1.1.68.": "a surface",
    "1.2.840.10008.5.1.4.1.1.88.": "a structured report or key object selection",
    "1.2.840.10008.5.1.4.1.1.91.": "an annotation",
    "1.2.840.10008.5.1.4.1.1.104.": "an encapsulated document",
    "1.2.840.10008.5.1.4.1.1.481.": "a radiotherapy object",
}
"""Families of SOP classes (PS3.4 table B.5-1) that never hold what an encoder takes."""


def _eye(header: Dataset) -> bool:
    """Whether the object says, in a coded or defined term, that it shows an eye."""
    regions = (text(item, "CodeValue") for item in items(header, "AnatomicRegionSequence"))
    return (
        text(header, "Modality") in ("OP", "OPT")
        or text(header, "BodyPartExamined").upper() in ("EYE", "RETINA")
        or any(region in _EYE for region in regions)
    )


def _capture(header: Dataset) -> str:
    """Secondary captures: by modality and anatomy only; what says neither is not guessed at."""
    if _eye(header):
        return "retina"
    if text(header, "Modality") in ("CR", "DX"):
        return "radiograph"
    raise UnsupportedObjectError(
        "secondary-capture",
        "A secondary capture that says neither radiograph nor fundus photograph is not read.",
    )


def _photograph(header: Dataset) -> str:
    if _eye(header):
        return "retina"
    raise UnsupportedObjectError("not-an-eye", "Photographs are read when they say that they show an eye.")


def _processing(_: Dataset) -> str:
    raise UnsupportedObjectError(
        "for-processing", "It is a radiograph for processing; send the one for presentation."
    )


RULES: Mapping[UID, Callable[[Dataset], str]] = {
    ComputedRadiographyImageStorage: lambda _: "radiograph",
    DigitalXRayImageStorageForPresentation: lambda _: "radiograph",
    DigitalXRayImageStorageForProcessing: _processing,
    CTImageStorage: lambda _: "ct",
    EnhancedCTImageStorage: lambda _: "ct",
    LegacyConvertedEnhancedCTImageStorage: lambda _: "ct",
    OphthalmicPhotography8BitImageStorage: lambda _: "retina",
    OphthalmicPhotography16BitImageStorage: lambda _: "retina",
    SecondaryCaptureImageStorage: _capture,
    MultiFrameTrueColorSecondaryCaptureImageStorage: _capture,
    VLPhotographicImageStorage: _photograph,
    TwelveLeadECGWaveformStorage: lambda _: "ecg",
    GeneralECGWaveformStorage: lambda _: "ecg",
    VLWholeSlideMicroscopyImageStorage: lambda _: "slide",
}
"""SOP class to the name of its reader, from the header where the class alone does not tell. A rule raises
UnsupportedObjectError where nothing reads the object."""


_CHEST = (
    "CHEST",
    "THORA",
    "TORAX",
    "TORAC",
    "LUNG",
    "PULM",
    "MEDIASTIN",
    "BRUST",
    "POUMON",
    "TRUNK",
    "BODY",
    "胸",
)
BODY_PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType({XRAY: _CHEST, CT: _CHEST})
"""By modality id of format v1: what Body Part Examined (0018,0015) contains where it is told at all. Its
terms are defined (PS3.16 annex L: CHEST, CHESTABDOMEN, NECKCHEST ...), but devices write their own words. An
object that tells none is left to the scope test, which alone has taken a head CT for a chest CT."""


def read_study(
    instances: Sequence[Instance], encoders: Mapping[str, Encoder], decode: FrameDecoder = decode_here
) -> StudyRead:
    """All views of one study, ready for the encoders, and every instance that was not used with its reason.

    `encoders` is by modality id, as in the manifest. Views come in the order of `encoders`, then as the
    reader orders them. An object that cannot be read never stops the others. `decode` decodes what is
    compressed: here, or in children that may die of it (`contained.py`).

    Raises BundleFormatError where the bundle's sampling or preprocessing does not fit its reader, and
    OSError where a file is gone.
    """
    with quiet:  # once here, since entering it for each attribute of many slices takes its time
        return _read_study(instances, encoders, decode)


def _read_study(
    instances: Sequence[Instance], encoders: Mapping[str, Encoder], decode: FrameDecoder
) -> StudyRead:
    wanted: set[str] = {encoder.reader for encoder in encoders.values()}
    unread: list[Skipped] = []
    kinds: dict[str, list[Loaded]] = {}
    for instance in instances:
        try:
            kind, loaded = _route(instance, wanted, decode)
        except InputError as error:
            unread.append(skipped(instance, error))
        else:
            kinds.setdefault(kind, []).append(loaded)
    views: list[View] = []
    for modality, encoder in encoders.items():
        task = Task(
            modality,
            encoder.sampling,
            compile_operations(encoder.preprocess),
            least_side(encoder.preprocess),
        )
        fitting, elsewhere = _of_body_part(kinds.get(encoder.reader, ()), modality)
        unread.extend(elsewhere)
        done = READERS[encoder.reader](fitting, task)
        views.extend(done.views)
        unread.extend(done.skipped)
    used = {source.sop_instance_uid for view in views for source in view.sources}
    # Two encoders may read the same kind: what one of them used is not unused, and is told once.
    left = dict.fromkeys(entry for entry in unread if entry.sop_instance_uid not in used)
    return StudyRead(tuple(views), tuple(left))


def _of_body_part(objects: Sequence[Loaded], modality: str) -> tuple[list[Loaded], list[Skipped]]:
    """Those of the body part that the modality's encoder was made for, and the others with the reason."""
    stems = BODY_PARTS.get(modality)
    fitting: list[Loaded] = []
    elsewhere: list[Skipped] = []
    for loaded in objects:
        try:
            _check_body_part(loaded.header, modality, stems)
        except InputError as error:
            elsewhere.append(skipped(loaded.instance, error))
        else:
            fitting.append(loaded)
    return fitting, elsewhere


def _check_body_part(header: Dataset, modality: str, stems: Sequence[str] | None) -> None:
    """Raises UnsupportedObjectError (`body-part`) for another body part than the encoder was made for."""
    told = "" if stems is None else text(header, "BodyPartExamined").upper()
    if told and not any(stem in told for stem in stems or ()):
        raise UnsupportedObjectError(
            "body-part",
            f"Its Body Part Examined is not the chest, for which the {modality} encoder was made.",
        )


def _route(instance: Instance, wanted: set[str], decode: FrameDecoder) -> tuple[str, Loaded]:
    """The reader's name and the loaded header. Raises InputError where nothing reads this instance."""
    uid = UID(instance.sop_class_uid)
    rule = RULES.get(uid)
    if rule is None:
        for family, meaning in _NO_IMAGE.items():
            if uid.startswith(family):
                raise UnsupportedObjectError("not-an-image", f"It is {meaning}, no image or waveform.")
        raise UnsupportedObjectError("unsupported-sop-class", f"Nothing here reads {uid.name}.")
    loaded = load_header(instance, decode)
    kind = rule(loaded.header)
    if kind not in wanted:
        raise UnsupportedObjectError(
            "no-encoder", f"The bundle has no encoder for what the {kind} reader reads."
        )
    return kind, loaded
