"""`dicom-node explain`: what the node would do with one object, and why. Tells no patient data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import InputError
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here, names_of
from dicom_node.pixels.ground import number, text, texts, value
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.recording import multiplex_groups, opened
from dicom_node.pixels.rules import ECG_CLASSES, READ_CLASSES, rule_for
from dicom_node.pixels.select import load, read_study
from dicom_node.records import Instance, View

TOLD = ("Modality", "BodyPartExamined", "ViewPosition", "ImageLaterality", "PhotometricInterpretation")
"""Attributes that decide, and that hold no patient data."""
NUMBERS = ("Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "PixelRepresentation")


def explain(
    path: Path, encoders: Mapping[str, Encoder], decode: FrameDecoder = decode_here
) -> dict[str, Any]:
    """What is known of the object at `path`, which rule decides on it, and what becomes of it, as JSON would
    have it. `object` is missing where it is no DICOM object; `reason` tells why it is not used.

    The object is judged alone: a slice is not compared with its series. Raises OSError where the file cannot
    be opened.
    """
    told: dict[str, Any] = {"file": str(path)}
    try:
        instance = read_instance(path)
    except InputError as error:
        return {**told, "used": False, "reason": error.reason, "message": str(error)}
    told["object"] = _identity(instance)
    try:
        told |= _header(instance)
    except InputError as error:
        return {**told, "used": False, "reason": error.reason, "message": str(error)}
    read = read_study([instance], encoders, decode)
    if not read.views:
        why = read.skipped[0]
        return {**told, "used": False, "reason": why.reason, "message": why.message}
    return {**told, "used": True, "views": [_view(view, encoders[view.modality]) for view in read.views]}


def _identity(instance: Instance) -> dict[str, Any]:
    syntax = UID(instance.transfer_syntax_uid)
    return {
        "sop_class": UID(instance.sop_class_uid).name,
        "sop_class_uid": instance.sop_class_uid,
        "transfer_syntax": syntax.name,
        "transfer_syntax_uid": str(syntax),
        "decoders": list(names_of(str(syntax))),
        "bytes": instance.size,
    }


def _header(instance: Instance) -> dict[str, Any]:
    loaded = load(instance)
    header = loaded.header
    attributes: dict[str, Any] = {name: said for name in TOLD if (said := text(header, name))}
    attributes |= {name: str(found) for name in NUMBERS if (found := value(header, name)) is not None}
    if kinds := texts(header, "ImageType"):
        attributes["ImageType"] = list(kinds)
    if instance.sop_class_uid in ECG_CLASSES:
        with opened(loaded) as file:
            groups = multiplex_groups(loaded, file)
        attributes["Waveforms"] = "; ".join(_group(group.item) for group in groups)
    rule = rule_for(instance.sop_class_uid, header) if instance.sop_class_uid in READ_CLASSES else None
    return {
        "attributes": attributes,
        "rule": None if rule is None else rule.words,
        "reader": None if rule is None else rule.reader,
    }


def _group(item: Dataset) -> str:
    """A multiplex group: `12 channels of 5000 samples at 500 Hz, ORIGINAL`."""
    channels, samples = (number(item, f"NumberOfWaveform{what}") for what in ("Channels", "Samples"))
    rate = number(item, "SamplingFrequency")
    told = f"{channels or 0:g} channels of {samples or 0:.0f} samples at {rate or 0:g} Hz"
    return f"{told}, {text(item, 'WaveformOriginality') or 'originality not told'}"


def _view(view: View, encoder: Encoder) -> dict[str, Any]:
    return {
        "modality": view.modality,
        "samples": len(view.samples),
        "input_shape": list(view.samples[0].values.shape),
        "source_size": None if view.source_size is None else list(view.source_size),
        "laterality": view.laterality,
        "view_position": view.view_position,
        "operations": [operation.op for operation in encoder.preprocess],
        "notes": list(view.notes),
    }
