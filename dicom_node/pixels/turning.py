"""Axial slices as encoders know them: rows towards the patient's left, columns towards the back (PS3.3
C.7.6.2.1.1). Prone, feet-first and reformatted series are stored mirrored or on their side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from dicom_node.records import Box, Sample


@dataclass(frozen=True, slots=True)
class Turn:
    """From the stored grid to the usual one: first rows and columns are swapped, then mirrored."""

    swapped: bool = False
    upside_down: bool = False
    """Whether rows are taken from the last to the first."""
    left_to_right: bool = False
    """Whether columns are."""

    def __bool__(self) -> bool:
        """Whether anything changes."""
        return self.swapped or self.upside_down or self.left_to_right


def turn_for(axes: Sequence[float]) -> Turn:
    """By Image Orientation (Patient), in any scale: x rises to the patient's left, y to the back.

    An oblique in-plane angle becomes the nearest right one.
    """
    along_row, along_column = axes[:2], axes[3:5]
    swapped = abs(along_row[0]) < abs(along_row[1])
    across, down = (along_column, along_row) if swapped else (along_row, along_column)
    return Turn(swapped, upside_down=down[1] < 0, left_to_right=across[0] < 0)


def turned(values: NDArray[Any], turn: Turn) -> NDArray[Any]:
    """(H, W) as stored to a view of it in the usual orientation."""
    upright = values.T if turn.swapped else values
    return upright[:: -1 if turn.upside_down else 1, :: -1 if turn.left_to_right else 1]


def turned_box(size: tuple[int, int], turn: Turn) -> Box:
    """The box of a whole stored frame of (rows, columns), its sides in the order of the turned one."""
    rows, columns = size[::-1] if turn.swapped else size
    left, right = (columns, 0) if turn.left_to_right else (0, columns)
    top, bottom = (rows, 0) if turn.upside_down else (0, rows)
    return Box(left, top, right, bottom)


def back_on_source(sample: Sample, turn: Turn) -> Sample:
    """A sample of a turned frame with its box told in columns and rows of the stored one."""
    if not turn.swapped or sample.box is None:
        return sample
    box = sample.box
    return replace(sample, box=Box(box.top, box.left, box.bottom, box.right), swapped=True)
