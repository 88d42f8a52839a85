"""Where the frames of a TILED_SPARSE slide lie, read from the bytes of their functional groups.

A slide of 100,000 x 100,000 has 150,000 frames: as data sets their groups would take minutes and gigabytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_node.pixels.ground import Loaded
from dicom_node.pixels.groups import raw_value

_ITEM = b"\xfe\xff\x00\xe0"
_COLUMN, _ROW = b"\x48\x00\x1e\x02", b"\x48\x00\x1f\x02"
"""Column and Row Position in Total Image Pixel Matrix (0048,021E) and (0048,021F), little endian."""
_UNDEFINED = 0xFFFFFFFF
Positions = NDArray[np.int64]


def raw_positions(loaded: Loaded) -> Positions | None:
    """(frames, 2) row and column of the corner of each frame, 1-based, in order of the frames.

    None where the groups are not there, or not written in items of known length that each tell both once:
    they are to be read as data sets then.
    """
    found = raw_value(loaded, "PerFrameFunctionalGroupsSequence")
    if found is None:
        return None
    data, implicit = found
    kind = b"\x04\x00\x00\x00" if implicit else b"SL\x04\x00"
    places: list[tuple[int, int]] = []
    at = 0
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length
        if data[at : at + 4] != _ITEM or length == _UNDEFINED or end > len(data):
            return None
        row, column = (_only(data, tag + kind, at + 8, end) for tag in (_ROW, _COLUMN))
        if row is None or column is None:
            return None
        places.append((row, column))
        at = end
    return np.array(places, dtype=np.int64).reshape(-1, 2)


def _only(data: bytes, head: bytes, begin: int, end: int) -> int | None:
    """The value of the element with this head, where it comes once."""
    at = data.find(head, begin, end)
    if at < 0 or at + 12 > end or data.find(head, at + 8, end) >= 0:
        return None
    return int.from_bytes(data[at + 8 : at + 12], "little", signed=True)
