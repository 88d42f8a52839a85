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
SEED = 823


@dataclass(frozen=True, slots=True, eq=False)
class LabelledView:
    """One view of one finding."""

    rows: NDArray[np.intp]
    """Which examples it is made of."""
    present: bool


def labelled_views(
    encoder: Encoder, labels: NDArray[np.int8], groups: Sequence[str]
) -> tuple[LabelledView, ...]:
    """Views for one finding from examples with `labels` (1, 0, -1 not known) and `groups`, both of N."""
    key = SAMPLES_KEY.get(encoder.reader)
    if key is None or encoder.pooling.method == "mean":
        return tuple(LabelledView(np.array([i]), bool(labels[i])) for i in np.flatnonzero(labels >= 0))
    healthy, ill = _by_group(labels == 0, groups), _by_group(labels == 1, groups)
    if not healthy or not ill:
        return ()
    random = np.random.default_rng(SEED)
    size = int(encoder.sampling[key])
    affected = max(1, round(size * encoder.pooling.fraction))
    positives = round(SIMULATED * float((labels == 1).sum() / (labels >= 0).sum()))
    views = []
    for index in range(SIMULATED):
        present = index < positives
        rows = random.choice(healthy[random.integers(len(healthy))], size)
        if present:
            rows[:affected] = random.choice(ill[random.integers(len(ill))], affected)
        views.append(LabelledView(rows, present))
    return tuple(views)


def _by_group(chosen: NDArray[np.bool_], groups: Sequence[str]) -> list[NDArray[np.intp]]:
    """Indices of the chosen examples of each group, groups in order of their names."""
    members: dict[str, list[int]] = {}
    for index in np.flatnonzero(chosen).tolist():
        members.setdefault(groups[index], []).append(index)
    return [np.array(members[name], dtype=np.intp) for name in sorted(members)]
