"""Waveform objects, of which no more is read than is asked for: a day of twelve leads is a gigabyte.

The data set is read up to its Waveform Sequence (5400,0100); of the groups in it only what describes them; of
their samples the parts that are judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.filereader import read_dataset, read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.ground import Loaded, inflate
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Instance

_WAVEFORMS = Tag("WaveformSequence")
_DATA = Tag("WaveformData")
Order = Literal["little", "big"]
_ITEM, _END = 0xFFFEE000, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LARGE = 1 << 22
"""Bytes; longer values are left in the file."""
MAX_GROUPS = 256
"""Multiplex groups of one object; recorders write a few."""


@dataclass(frozen=True, slots=True, eq=False)
class Multiplex:
    """One multiplex group (PS3.3 C.10.9.1): what describes it, and where its samples lie."""

    item: Dataset
    """Without Waveform Data."""
    data_at: int | None
    """Offset of the value of Waveform Data, in the file or in what a deflated one inflates to; None where
    there is none of known length."""
    data_length: int
    """Bytes."""


def load_recording(instance: Instance, decode: FrameDecoder = decode_here) -> Loaded:
    """The data set up to Waveform Sequence. Raises UnreadableObjectError where it cannot be parsed."""
    with parsing("broken-header", "Its data set cannot be parsed."):
        if instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
            source = inflate(instance)
            header = read_dataset(
                source, is_implicit_VR=False, is_little_endian=True, stop_when=_at_waveforms
            )
            return Loaded(instance, header, source.tell(), decode)
        with instance.path.open("rb") as file:
            partial = read_partial(file, stop_when=_at_waveforms, defer_size=_LARGE, force=True)
            return Loaded(instance, partial, file.tell(), decode)


def _at_waveforms(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return int(tag) >= int(_WAVEFORMS)


@contextmanager
def opened(loaded: Loaded) -> Iterator[BinaryIO]:
    """What offsets into a recording count in."""
    if loaded.instance.transfer_syntax_uid == DeflatedExplicitVRLittleEndian:
        yield inflate(loaded.instance)
        return
    with loaded.instance.path.open("rb") as file:
        yield file


def multiplex_groups(loaded: Loaded, file: BinaryIO) -> list[Multiplex]:
    """The items of Waveform Sequence; none where the object has none.

    Raises UnreadableObjectError (`broken-waveform`).
    """
    implicit, little = loaded.header.original_encoding
    groups: list[Multiplex] = []
    with parsing("broken-waveform", "Its Waveform Sequence cannot be parsed."):
        file.seek(loaded.pixels_at or 0)
        order: Order = "little" if little else "big"
        head = file.read(8)
        if len(head) < 8 or _tag(head, order) != _WAVEFORMS:
            return []
        length = int.from_bytes(head[4:8] if implicit else file.read(4), order)
        # What is written as UN holds items in Implicit VR Little Endian (PS3.5 6.2.2).
        unknown = not implicit and head[4:6] == b"UN"
        end = None if length == _UNDEFINED else file.tell() + length
        while end is None or file.tell() < end:
            head = file.read(8)
            if len(head) < 8 or _tag(head, order) == _END:
                break
            if _tag(head, order) != _ITEM or len(groups) == MAX_GROUPS:
                raise UnreadableObjectError("broken-waveform", "Its Waveform Sequence cannot be parsed.")
            size = int.from_bytes(head[4:8], order)
            groups.append(_group(file, size, bool(implicit) or unknown, bool(little)))
    return groups


def _group(file: BinaryIO, size: int, implicit: bool, little: bool) -> Multiplex:
    """The item whose content begins where the file stands, which stands behind it afterwards."""
    start = file.tell()
    known = None if size == _UNDEFINED else size
    item = read_dataset(file, implicit, little, bytelength=known, defer_size=_LARGE, at_top_level=False)
    if known is not None:
        file.seek(start + known)
    data: object = item.get_item(_DATA, keep_deferred=True)
    if isinstance(data, RawDataElement):
        del item[_DATA]
        if data.length == _UNDEFINED:  # heads of fragments are no samples
            return Multiplex(item, None, 0)
        return Multiplex(item, data.value_tell, data.length)
    return Multiplex(item, None, 0)


def _tag(head: bytes, order: Order) -> int:
    """Group and element number as one."""
    return int.from_bytes(head[:2], order) << 16 | int.from_bytes(head[2:4], order)


def read_part(
    file: BinaryIO, group: Multiplex, kind: np.dtype[np.signedinteger], channels: int, first: int, last: int
) -> NDArray[np.signedinteger]:
    """(last - first, channels): samples `first` to before `last` of all channels, as stored.

    Raises UnreadableObjectError (`broken-waveform`) where the file holds fewer.
    """
    step = channels * kind.itemsize
    file.seek((group.data_at or 0) + first * step)
    data = file.read((last - first) * step)
    if len(data) < (last - first) * step:
        raise UnreadableObjectError("broken-waveform", "Its waveform data are shorter than it says.")
    return np.frombuffer(data, dtype=kind).reshape(last - first, channels)
