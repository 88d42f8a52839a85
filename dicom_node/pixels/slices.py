"""CT slices: which objects and frames are axial slices in HU, where each lies, and which make a series."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from pydicom import Dataset

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.colour import photometric_of
from dicom_node.pixels.decode import frame_count, frame_size
from dicom_node.pixels.ground import Loaded, evenly, number, skipped, texts
from dicom_node.pixels.groups import FrameFacts, frame_facts, single_facts
from dicom_node.records import Skipped, SourceRef

_PROJECTED = frozenset(
    (
        *("MIP", "MINIP", "MAXIMUM", "MINIMUM", "PROJECTION IMAGE", "VOLUME RENDERING", "VRT"),
        *("SCREEN SAVE", "SCREENSHOT", "DOSE_INFO", "DOSE INFO"),
    )
)
"""Values of Image Type (PS3.3 C.8.16.1.3, C.8.16.1.4, and what devices write) of what is no single slice."""
_NO_SLICE = _PROJECTED | {"LOCALIZER"}
"""Values of Frame Type, likewise."""
COARSE = 8.0
"""HU per stored step: more is worth telling (a lossy copy in 8 bits has 32; tissues differ by 20)."""
MIN_AXIAL = 0.8
"""Cosine between the slice normal and the body axis: a gantry tilts by up to 30 degrees (cosine 0.87)."""
SAME_PLACE = 0.01
"""mm: closer slices are one and the same place."""
MOST = 0.5
"""Part of the places that several acquisitions share, and that the one to be read covers, at least."""
_TIMES = ("TriggerTime", "AcquisitionTime", "ContentTime")
"""What tells passes apart that have no number."""
GAP = 1.5
"""Times the usual distance: further apart, slices are missing between."""


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A slice whose geometry and scale are known."""

    loaded: Loaded
    frame: int | None
    """0-based frame of a multi-frame object, None for a single-frame one."""
    orientation: tuple[int, ...] | None
    """Image Orientation (Patient) in hundredths, to compare; None where not told."""
    position: float
    """mm along the slice normal, or the instance number where no position is told."""
    size: tuple[int, int]
    slope: float
    intercept: float
    phase: tuple[float, ...]
    """Acquisition and temporal position, to tell several passes over the same places apart."""

    @property
    def source(self) -> SourceRef:
        """The instance, or the frame of it."""
        return self.loaded.source if self.frame is None else self.loaded.frame(self.frame + 1)


def usable_slices(series: Sequence[Loaded]) -> tuple[list[Slice], list[str], list[Skipped]]:
    """The slices of the commonest geometry, ordered along their normal, what is to be told of them, and what
    does not belong to them."""
    unread: list[Skipped] = []
    odd_frames = 0
    geometries: dict[_Geometry, list[Slice]] = {}
    for loaded in series:
        try:
            placed = _place(loaded)
            odd_frames += frame_count(loaded) - len(placed)
        except InputError as error:
            unread.append(skipped(loaded.instance, error))
            continue
        for one in placed:
            geometries.setdefault(_geometry(one, geometries), []).append(one)
    # Of equally large groups always the same one, whatever the order in which the objects came.
    groups = sorted(geometries.items(), key=lambda entry: (-len(entry[1]), repr(entry[0])))
    other = UnsupportedObjectError(
        "other-geometry", "Its size or orientation differs from most of its series."
    )
    unread += [skipped(one.loaded.instance, other) for _, group in groups[1:] for one in group]
    main = groups[0][1] if groups else []
    numbered = {id(one): number(one.header, "InstanceNumber") or 0.0 for one in series}
    main.sort(key=lambda one: (one.position, numbered[id(one.loaded)], one.frame or 0))
    notes: list[str] = []
    if odd_frames:
        notes.append(f"{odd_frames} frames were left out: localisers, projections, or not axial.")
    if main and is_secondary(main[0].loaded.header):
        notes.append("Its slices were derived from other images (Image Type says SECONDARY).")
    if main and abs(main[0].slope) > COARSE:
        notes.append(f"Its values are stored in steps of {abs(main[0].slope):.3g} HU.")
    return main, notes, unread


_Geometry = tuple[tuple[int, ...] | None, tuple[int, int]]
"""`Slice.orientation` and `Slice.size`."""


def _geometry(one: Slice, known: Iterable[_Geometry]) -> _Geometry:
    """That of `known` that a slice shares, else its own: cosines that are rounded to two neighbours are the
    same, as those of one series differ in their last digits at times."""
    for axes, size in known:
        alike = one.orientation is not None and axes is not None and size == one.size
        if alike and all(abs(a - b) <= 1 for a, b in zip(axes or (), one.orientation or (), strict=True)):
            return axes, size
    return one.orientation, one.size


def one_per_place(slices: Sequence[Slice]) -> tuple[list[Slice], list[str], list[Skipped]]:
    """Ordered slices with one at each place, what is to be told of them, and what was left out.

    Where most places repeat, the slices are those of several acquisitions or phases of contrast: the fullest
    is taken (the first of equally full ones), where it covers most of the places. Otherwise those that repeat
    are plain duplicates, of which the first is taken.
    """
    notes: list[str] = []
    unread: list[Skipped] = []
    kept = list(slices)
    if slices and slices[0].orientation is not None and _repeats(kept):
        chosen = _fullest_phase(kept)
        if chosen is not None:
            fullest, told = chosen
            taken = set(map(id, fullest))
            other = UnsupportedObjectError("other-phase", "Another acquisition of its series was taken.")
            unread += skipped_each([one for one in kept if id(one) not in taken], other)
            kept = fullest
            notes.append(told)
        if _repeats(kept):
            single = [kept[0]]
            double: list[Slice] = []
            for one in kept[1:]:
                (double if one.position - single[-1].position < SAME_PLACE else single).append(one)
            error = UnsupportedObjectError("duplicate-slice", "Another slice of its series lies there too.")
            unread += skipped_each(double, error)
            kept = single
    gaps = missing(kept)
    if gaps:
        notes.append(f"Slices are missing at {gaps} place(s) of the series.")
    return kept, notes, unread


def _fullest_phase(slices: Sequence[Slice]) -> tuple[list[Slice], str] | None:
    """The slices of the fullest phase, and what is to be told; None where most places do not repeat, or where
    nothing tells phases apart that each cover most of the places (step and shoot numbers every slice)."""
    places, starts = [0], [slices[0].position]
    for one in slices[1:]:
        if one.position - starts[-1] >= SAME_PLACE:
            starts.append(one.position)
        places.append(len(starts) - 1)
    repeated = sum(held > 1 for held in Counter(places).values())
    if repeated <= MOST * len(starts):
        return None
    for name in ("", *_TIMES):
        phases = [one.phase if not name else _time(one, name) for one in slices]
        covered = Counter(phase for phase, _ in set(zip(phases, places, strict=True)))
        fullest = min(covered, key=lambda phase: (-covered[phase], phase))
        if len(covered) > 1 and covered[fullest] > MOST * len(starts):
            kept = [one for one, phase in zip(slices, phases, strict=True) if phase == fullest]
            told = f"The series holds {len(covered)} acquisitions; the fullest was taken."
            return kept, told + (f" They were told apart by {name}." if name else "")
    return None


def _time(one: Slice, name: str) -> tuple[float, ...]:
    """A time of the slice, to tell passes apart; nothing where it is missing or no number."""
    try:
        return (number(one.loaded.header, name) or 0.0,)
    except InputError:
        return ()


def _repeats(slices: Sequence[Slice]) -> bool:
    places = [one.position for one in slices]
    return any(b - a < SAME_PLACE for a, b in pairwise(places))


def missing(slices: Sequence[Slice]) -> int:
    """How many distances between neighbours are wider than GAP times the usual one."""
    if len(slices) < 3 or slices[0].orientation is None:
        return 0
    steps = np.diff([one.position for one in slices])
    return int((steps > GAP * np.median(steps)).sum())


def evenly_placed(positions: Sequence[float], wanted: int) -> list[int]:
    """Indices of `wanted` of these ascending positions, the nearest to the middles of equal parts of
    the body; by count where the spacing is even, which is the same then. None twice."""
    if len(positions) <= wanted:
        return list(range(len(positions)))
    steps = np.diff(positions)
    if float(np.ptp(steps)) <= 0.1 * float(np.median(steps)):
        return evenly(len(positions), wanted)
    low, high = positions[0], positions[-1]
    middles = low + (np.arange(wanted) + 0.5) * (high - low) / wanted
    nearest = {int(np.argmin(np.abs(np.asarray(positions) - middle))) for middle in middles}
    rest = [index for index in range(len(positions)) if index not in nearest]
    return sorted([*nearest, *(rest[i] for i in evenly(len(rest), wanted - len(nearest)))])


def skipped_each(slices: Sequence[Slice], error: InputError) -> list[Skipped]:
    """One entry for each instance of these slices."""
    return [skipped(i, error) for i in {id(i): i for i in (one.loaded.instance for one in slices)}.values()]


def is_secondary(header: Dataset) -> bool:
    """Whether Image Type tells an image made from others (PS3.3 C.7.6.1.1.2, value 2)."""
    return texts(header, "ImageType")[1:2] == ("SECONDARY",)


def _place(loaded: Loaded) -> list[Slice]:
    """The slices of one object. Raises InputError for what does not hold axial slices in HU alone."""
    header = loaded.header
    if _PROJECTED & set(texts(header, "ImageType")):
        raise UnsupportedObjectError("projection", "It is a projection or a picture of slices, no slice.")
    if photometric_of(header) not in ("MONOCHROME1", "MONOCHROME2"):
        raise UnsupportedObjectError("not-monochrome", "It is no grey-scale image.")
    frames, size = frame_count(loaded), frame_size(loaded)
    told = tuple(number(header, name) or 0.0 for name in ("AcquisitionNumber", "TemporalPositionIdentifier"))
    each = frame_facts(loaded)
    if not each and frames == 1:
        return [_slice(loaded, None, single_facts(header), size, told)]
    if len(each) != frames:
        raise UnsupportedObjectError(
            "multi-frame",
            "It holds several frames and does not tell the place of each (no functional groups).",
        )
    placed: list[Slice] = []
    faults: list[InputError] = []
    for index, facts in enumerate(each):
        try:
            placed.append(_slice(loaded, index, facts, size, told))
        except UnsupportedObjectError as error:  # a localiser or an oblique one among axial frames
            faults.append(error)
    if not placed:
        raise faults[0]
    return placed


def _slice(
    loaded: Loaded, frame: int | None, facts: FrameFacts, size: tuple[int, int], told: tuple[float, ...]
) -> Slice:
    """One slice; `told` is what its object tells of acquisition and time. Raises InputError where it is no
    axial slice in HU."""
    if not _NO_SLICE.isdisjoint(facts.kinds):
        raise UnsupportedObjectError("projection", "It is a localiser or a projection, no slice.")
    if not facts.slope or facts.intercept is None:
        raise UnreadableObjectError(
            "missing-rescale", "It has no Rescale Slope and Intercept: its values are not known in HU."
        )
    if facts.scale_type not in ("", "HU", "HU_MOD"):
        raise UnsupportedObjectError("not-hounsfield", "Its values are not in Hounsfield units.")
    if facts.axes is None or facts.corner is None:
        place = number(loaded.header, "InstanceNumber") or 0.0
        return Slice(loaded, frame, None, place, size, facts.slope, facts.intercept, ())
    normal, turned = _axes(facts.axes)
    if abs(normal[2]) < MIN_AXIAL:
        raise UnsupportedObjectError("not-axial", "It is no axial slice (a reformat or another orientation).")
    # Towards the head, whichever way the rows run.
    x, y, z = facts.corner
    along = (normal[0] * x + normal[1] * y + normal[2] * z) * (1 if normal[2] > 0 else -1)
    return Slice(loaded, frame, turned, along, size, facts.slope, facts.intercept, told + facts.passes)


@lru_cache(maxsize=16)
def _axes(told: tuple[float, ...]) -> tuple[tuple[float, float, float], tuple[int, ...]]:
    """The normal of a plane with these cosines of rows and columns, and the cosines in hundredths. Most
    frames of an object tell the same."""
    ax, ay, az, bx, by, bz = told
    normal = (ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx)
    return normal, tuple(round(100 * v) for v in told)
