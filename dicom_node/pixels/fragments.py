"""Where the fragments of each compressed frame lie (PS3.5 A.4), found once, however many frames there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np

from dicom_node.errors import UnreadableObjectError

_ITEM = b"\xfe\xff\x00\xe0"
Places = Callable[[int], tuple[int, int | None]]
"""0-based frame to the offsets of its first item and of what comes behind its last; None: the delimiter."""
Parts = Sequence[tuple[int, int]]
"""Offset and length of the value of each fragment, in bytes, in order."""


def frame_places(
    file: BinaryIO, start: int, frames: int, extended: tuple[bytes, bytes] | None
) -> Places | None:
    """By the Extended or the Basic Offset Table, else by the items themselves, where each is a frame.

    `start` is the offset of the Basic Offset Table's item. None where only the streams themselves can tell
    which fragments belong together, or where the tables are not plausible.
    """
    file.seek(start)
    head = file.read(8)
    if head[:4] != _ITEM:
        return None
    length = int.from_bytes(head[4:], "little")
    base = start + 8 + length
    if frames == 1:
        return lambda _: (base, None)
    if extended is not None and len(extended[0]) == 8 * frames:
        return _by_table(np.frombuffer(extended[0], "<u8"), base)
    if length == 4 * frames:
        return _by_table(np.frombuffer(file.read(length), "<u4"), base)
    return _by_items(file, base, frames)


def _by_table(offsets: np.ndarray[tuple[int], np.dtype[np.unsignedinteger]], base: int) -> Places | None:
    if int(offsets[0]) != 0 or not (np.diff(offsets.astype(np.int64)) > 0).all():
        return None

    def place(index: int) -> tuple[int, int | None]:
        end = base + int(offsets[index + 1]) if index + 1 < len(offsets) else None
        return base + int(offsets[index]), end

    return place


def _by_items(file: BinaryIO, base: int, frames: int) -> Places | None:
    """One walk over the heads of the items; None where there are more of them than frames, or fewer."""
    heads = np.zeros(frames + 1, dtype=np.int64)
    file.seek(base)
    for index in range(frames):
        heads[index] = file.tell()
        head = file.read(8)
        if head[:4] != _ITEM:
            return None
        file.seek(int.from_bytes(head[4:], "little"), 1)
    heads[frames] = file.tell()
    if file.read(4) == _ITEM:
        return None
    return lambda index: (int(heads[index]), int(heads[index + 1]))


def parts_of(file: BinaryIO, begin: int, end: int | None) -> Parts:
    """Where the values of all items from `begin` to `end`, or to the delimiter, lie; none reaches beyond the
    end of the file. Raises UnreadableObjectError."""
    size = os.fstat(file.fileno()).st_size
    parts: list[tuple[int, int]] = []
    at = begin
    while end is None or at < end:
        file.seek(at)
        head = file.read(8)
        if head[:4] != _ITEM:
            if end is None and parts:
                break
            raise UnreadableObjectError("broken-pixels", "A frame does not lie where its table says.")
        length = int.from_bytes(head[4:], "little")
        there = min(length, max(0, size - at - 8)) if length < 1 << 31 else 0
        parts.append((at + 8, there))
        if there < length:
            break  # cut short: the codec tells whether what is there is enough
        at += 8 + length
    return parts
