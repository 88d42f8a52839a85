"""What all readers stand on: a loaded header, a task from the bundle, attributes read without surprises."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.errors import BundleFormatError, InputError, UnreadableObjectError
from dicom_node.part10 import inflated, read_part10_head
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.ops import Patch, Step
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Instance, Sample, Skipped, SourceRef, StudyRead, View

FIRST_PIXELS = 0x7FE00008
"""Float Pixel Data, before Double Float Pixel Data and Pixel Data (7FE0,0010)."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """An instance and its data set without pixels."""

    instance: Instance
    header: Dataset
    pixels_at: int | None = None
    """Offset of the first element behind the header, as a rule Pixel Data, in the file or in what a deflated
    one inflates to; None where it is not known."""
    decode: FrameDecoder = decode_here
    """What decodes its compressed frames."""

    @property
    def source(self) -> SourceRef:
        """A pointer to the whole instance."""
        return SourceRef(self.instance.sop_class_uid, self.instance.sop_instance_uid)

    def frame(self, number: int) -> SourceRef:
        """A pointer to one frame, 1-based."""
        return SourceRef(self.instance.sop_class_uid, self.instance.sop_instance_uid, number)


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What the bundle asks of a reader, for one modality."""

    modality: str
    sampling: Mapping[str, float | int | str]
    prepare: Step
    least_side: int | None = None
    """Pixels of the shorter side that an image must be read with, see `demand.py`; None: all."""

    def parameter(self, name: str) -> float:
        """A positive number of `sampling`. Raises BundleFormatError where it is missing."""
        value = self.sampling.get(name)
        if isinstance(value, str) or value is None or not math.isfinite(value) or value <= 0:
            raise BundleFormatError(
                f"The encoder of {self.modality!r} needs a positive number as sampling.{name}, not {value!r}."
            )
        return float(value)

    def count(self, name: str) -> int:
        """A positive whole number of `sampling`. Raises BundleFormatError where it is none."""
        value = self.parameter(name)
        if value != int(value):
            raise BundleFormatError(f"sampling.{name} of {self.modality!r} must be whole, and is {value:g}.")
        return int(value)

    def sample(self, patch: Patch, source: SourceRef) -> Sample:
        """Apply the bundle's operations to what a reader read.

        Raises UnreadableObjectError (`not-finite`) where a slope, a window or a sensitivity was absurd.
        """
        done = self.prepare(patch)
        if not np.isfinite(done.values).all():
            raise UnreadableObjectError(
                "not-finite", "Its scale or window is absurd: values become infinite or undefined."
            )
        return Sample(values=done.values, source=source, box=done.box, span=done.span)


def load_header(instance: Instance, decode: FrameDecoder = decode_here) -> Loaded:
    """Read the data set up to the pixels. Raises UnreadableObjectError where it cannot be parsed."""
    with parsing("broken-header", "Its data set cannot be parsed."):
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            source = inflate(instance)
            header = read_dataset(source, is_implicit_VR=False, is_little_endian=True, stop_when=_at_pixels)
            return Loaded(instance, header, source.tell(), decode)
        with instance.path.open("rb") as file:
            header = dcmread(file, stop_before_pixels=True, force=True, defer_size=1 << 22)
            return Loaded(instance, header, file.tell(), decode)


def inflate(instance: Instance) -> BytesIO:
    """The data set of a deflated object. Raises UnreadableObjectError, see `part10.inflated`."""
    _, start = read_part10_head(instance.path)
    return inflated(instance.path, start)


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= FIRST_PIXELS


def skipped(instance: Instance, error: InputError) -> Skipped:
    """An error as a fact."""
    return Skipped(instance.sop_instance_uid, error.reason, str(error))


def read_each(objects: Sequence[Loaded], read: Callable[[Loaded], Sequence[View]]) -> StudyRead:
    """For readers of single instances: one that fails does not stop the others."""
    views: list[View] = []
    unread: list[Skipped] = []
    for loaded in objects:
        try:
            views.extend(read(loaded))
        except InputError as error:
            unread.append(skipped(loaded.instance, error))
    return StudyRead(tuple(views), tuple(unread))


def by_series(objects: Sequence[Loaded]) -> dict[str, list[Loaded]]:
    """By Series Instance UID, in order of appearance."""
    series: dict[str, list[Loaded]] = {}
    for loaded in objects:
        series.setdefault(loaded.instance.series_uid, []).append(loaded)
    return series


def evenly(length: int, count: int) -> list[int]:
    """Indices of `count` of `length` things, the middles of equal parts; all where there are no more."""
    if length <= count:
        return list(range(length))
    return [int((i + 0.5) * length / count) for i in range(count)]


def value(ds: Dataset, keyword: str) -> object:
    """The value of an attribute, None where it is missing or empty.

    Raises UnreadableObjectError (`bad-attribute`) where it is there and cannot be understood.
    """
    held = _held(ds, keyword)
    if held is None:
        return None
    if isinstance(held, DataElement):  # what has been parsed once cannot fail
        found = held.value
    else:
        with parsing("bad-attribute", _misunderstood(keyword)):
            found = ds.get(keyword)
    return None if found is None or found == "" else found


def _held(ds: Dataset, keyword: str) -> object:
    """An element as it is held, parsed or not yet; None where there is none."""
    tag = tag_for_keyword(keyword)
    return None if tag is None else ds.get_item(tag, keep_deferred=True)


def bad_attribute(keyword: str) -> UnreadableObjectError:
    """The error for an attribute that has no usable value."""
    return UnreadableObjectError("bad-attribute", _misunderstood(keyword))


def _misunderstood(keyword: str) -> str:
    return f"The value of {keyword} cannot be understood."


def text(ds: Dataset, keyword: str) -> str:
    """A single string, trimmed; empty where missing or several."""
    found = value(ds, keyword)
    return found.strip() if isinstance(found, str) else ""


def in_capitals(said: str) -> str:
    """Capitals without accents: what devices write in free words is compared so (`Tórax`, `TORAX`)."""
    with suppress(UnicodeError):  # UTF-8 in a CS, of which pydicom makes Latin-1 whatever the character set
        said = said.encode("latin-1").decode("utf-8")
    apart = unicodedata.normalize("NFKD", said.upper())
    return unicodedata.normalize("NFC", "".join(c for c in apart if not unicodedata.combining(c)))


def texts(ds: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as strings; empty where missing."""
    found = value(ds, keyword)
    if found is None:
        return ()
    return (found,) if isinstance(found, str) else tuple(str(v) for v in _sequence(found))


def numbers(ds: Dataset, keyword: str, count: int | None = None) -> tuple[float, ...] | None:
    """All values as finite numbers, None where missing. With `count`, exactly as many.

    Raises UnreadableObjectError (`bad-attribute`).
    """
    values = _plain_numbers(_held(ds, keyword))
    if values is None:
        found = value(ds, keyword)
        if found is None:
            return None
        with parsing("bad-attribute", _misunderstood(keyword)):
            values = tuple(float(str(v)) for v in _sequence(found))
    if not all(math.isfinite(v) for v in values) or (count is not None and len(values) != count):
        raise bad_attribute(keyword)
    return values or None


def _plain_numbers(held: object) -> tuple[float, ...] | None:
    """The values of a US, DS or IS that is not parsed yet, twenty times as fast as pydicom makes objects of
    them; None for all others, and for whatever is odd."""
    if not isinstance(held, RawDataElement) or not held.value:
        return None
    try:
        if held.VR == "US" and held.is_little_endian and len(held.value) == 2:
            return (float(int.from_bytes(held.value, "little")),)
        if held.VR in ("DS", "IS"):
            kind = float if held.VR == "DS" else int
            return tuple(float(kind(part)) for part in held.value.split(b"\\"))
    except (ValueError, OverflowError):
        return None
    return None


def number(ds: Dataset, keyword: str) -> float | None:
    """The first value as a finite number, None where missing."""
    values = numbers(ds, keyword)
    return None if values is None else values[0]


def count(ds: Dataset, keyword: str, default: int | None = None) -> int:
    """A whole number from 1 on. Raises UnreadableObjectError where it is missing without a default."""
    found = number(ds, keyword)
    if found is None:
        if default is None:
            raise UnreadableObjectError("missing-attribute", f"It has no {keyword}.")
        return default
    if found < 1 or found != int(found):
        raise bad_attribute(keyword)
    return int(found)


def items(ds: Dataset, keyword: str) -> tuple[Dataset, ...]:
    """The items of a sequence; empty where missing."""
    found = value(ds, keyword)
    if found is None:
        return ()
    return tuple(item for item in _sequence(found) if isinstance(item, Dataset))


def first_item(ds: Dataset, keyword: str) -> Dataset | None:
    """The first item of a sequence."""
    found = items(ds, keyword)
    return found[0] if found else None


def _sequence(found: object) -> Sequence[object]:
    """One value as a sequence of one; pydicom's MultiValue and Sequence as they are."""
    if isinstance(found, Sequence) and not isinstance(found, str | bytes):
        return found
    if hasattr(found, "__iter__") and not isinstance(found, str | bytes):
        return list(found)
    return (found,)
