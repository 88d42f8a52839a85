"""A study through the readers: `rules.py` says which of them reads an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import InputError, UnsupportedObjectError
from dicom_node.pixels import ct, ecg, radiograph, retina, slide
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.demand import least_side
from dicom_node.pixels.ground import Loaded, Task, in_capitals, load_header, skipped, text
from dicom_node.pixels.ops import compile_operations
from dicom_node.pixels.quiet import quiet
from dicom_node.pixels.recording import load_recording
from dicom_node.pixels.rules import BODY_PARTS, ECG_CLASSES, NO_IMAGE, READ_CLASSES, rule_for
from dicom_node.pixels.traits import read_traits
from dicom_node.records import Instance, Skipped, StudyRead, View

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
        headers = {loaded.instance.sop_instance_uid: loaded.header for loaded in fitting}
        views.extend(
            replace(view, traits=read_traits(headers[view.sources[0].sop_instance_uid]))
            for view in done.views
        )
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
    told = "" if stems is None else in_capitals(text(header, "BodyPartExamined"))
    if told and not any(stem in told for stem in stems or ()):
        raise UnsupportedObjectError(
            "body-part",
            f"Its Body Part Examined is not the chest, for which the {modality} encoder was made.",
        )


def load(instance: Instance, decode: FrameDecoder = decode_here) -> Loaded:
    """The instance with its header, without what its reader reads part by part: pixels, or waveforms.

    Raises UnreadableObjectError where it cannot be parsed.
    """
    return (load_recording if instance.sop_class_uid in ECG_CLASSES else load_header)(instance, decode)


def _route(instance: Instance, wanted: set[str], decode: FrameDecoder) -> tuple[str, Loaded]:
    """The reader's name and the loaded header. Raises InputError where nothing reads this instance."""
    uid = UID(instance.sop_class_uid)
    if uid not in READ_CLASSES:
        for family, meaning in NO_IMAGE.items():
            if uid.startswith(family):
                raise UnsupportedObjectError("not-an-image", f"It is {meaning}, no image or waveform.")
        raise UnsupportedObjectError("unsupported-sop-class", f"Nothing here reads {uid.name}.")
    loaded = load(instance, decode)
    rule = rule_for(uid, loaded.header)
    if rule is None or rule.reader is None:
        raise UnsupportedObjectError(
            "unsupported-sop-class" if rule is None else rule.reason,
            f"Nothing here reads {uid.name}." if rule is None else rule.message,
        )
    if rule.reader not in wanted:
        raise UnsupportedObjectError(
            "no-encoder", f"The bundle has no encoder for what the {rule.reader} reader reads."
        )
    return rule.reader, loaded
