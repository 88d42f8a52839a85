"""What calibration and thresholds are fitted on: views as the node will see them.

Where a view is one image or one record, it is an example as it is. Where a view is a series or a slide, of
which the strongest samples are pooled, labelled series and slides are not at hand, only labelled slices and
tiles. One by one they would mislead: the strongest quarter of a healthy series looks worse than any one slice
of it. So views are put together: all samples from one patient or group without the finding, and in a view
with the finding the part that pooling looks at from one group that has it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Encoder

SAMPLES_KEY: Mapping[str, str] = MappingProxyType({"ct": "slices", "slide": "tiles"})
"""By reader: which sampling parameter tells how many samples a view has."""
SIMULATED = 400
"""Views put together for each finding."""
CURVE_VIEWS = 200
"""Views put together for each point of a curve."""
CURVE = (0, 1, 2, 3, 4, 6, 8, 12, 16)
"""Affected samples of a view, up to the part that pooling looks at."""
SEED = 823


@dataclass(frozen=True, slots=True, eq=False)
class LabelledView:
    """One view of one finding."""

    rows: NDArray[np.intp]
    """Which examples it is made of."""
    present: bool
    group: str
    """The patient or group that it shows: where present the one with the finding, else the one without."""


def simulated(encoder: Encoder) -> bool:
    """Whether a view is many samples, so that labelled views must be put together."""
    return encoder.reader in SAMPLES_KEY and encoder.pooling.method != "mean"


def view_size(encoder: Encoder) -> tuple[int, int]:
    """Samples of a view that is put together, and how many of them pooling looks at."""
    size = int(encoder.sampling[SAMPLES_KEY[encoder.reader]])
    return size, max(1, round(size * encoder.pooling.fraction))


def labelled_views(
    encoder: Encoder, labels: NDArray[np.int8], groups: Sequence[str]
) -> tuple[LabelledView, ...]:
    """Views for one finding from examples with `labels` (1, 0, -1 not known) and `groups`, both of N."""
    if not simulated(encoder):
        return tuple(
            LabelledView(np.array([i]), bool(labels[i]), groups[i])
            for i in np.flatnonzero(labels >= 0).tolist()
        )
    healthy, ill = _by_group(labels == 0, groups), _by_group(labels == 1, groups)
    if not healthy or not ill:
        return ()
    random = np.random.default_rng(SEED)
    size, affected = view_size(encoder)
    positives = round(SIMULATED * float((labels == 1).sum() / (labels >= 0).sum()))
    return tuple(
        _put_together(random, healthy, ill, size, affected if index < positives else 0)
        for index in range(SIMULATED)
    )


def affected_views(
    encoder: Encoder, labels: NDArray[np.int8], groups: Sequence[str], affected: int
) -> tuple[LabelledView, ...]:
    """CURVE_VIEWS views of which `affected` samples have the finding, all from one group; empty where one of
    the classes is. Only for an encoder whose views are put together."""
    healthy, ill = _by_group(labels == 0, groups), _by_group(labels == 1, groups)
    if not healthy or not ill:
        return ()
    random = np.random.default_rng(SEED + affected)
    size, _ = view_size(encoder)
    return tuple(_put_together(random, healthy, ill, size, affected) for _ in range(CURVE_VIEWS))


Groups = Sequence[tuple[str, NDArray[np.intp]]]


def _put_together(
    random: np.random.Generator, healthy: Groups, ill: Groups, size: int, affected: int
) -> LabelledView:
    """`size` samples of one healthy group, `affected` of them replaced by samples of one ill group."""
    group, members = healthy[int(random.integers(len(healthy)))]
    rows = random.choice(members, size)
    if affected:
        group, members = ill[int(random.integers(len(ill)))]
        rows[:affected] = random.choice(members, affected)
    return LabelledView(rows, affected > 0, group)


def _by_group(chosen: NDArray[np.bool_], groups: Sequence[str]) -> list[tuple[str, NDArray[np.intp]]]:
    """Name and indices of the chosen examples of each group, groups in order of their names."""
    members: dict[str, list[int]] = {}
    for index in np.flatnonzero(chosen).tolist():
        members.setdefault(groups[index], []).append(index)
    return [(name, np.array(members[name], dtype=np.intp)) for name in sorted(members)]
