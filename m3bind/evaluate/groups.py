"""Which examples share a group, as a matrix (`m3bind/data/groups.py` says what a group is)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from m3bind.data.catalogue import illnesses_of
from m3bind.data.examples import Example
from m3bind.data.groups import Group, is_in, is_normal


def membership(modality: str, found: Sequence[Example], groups: Sequence[Group]) -> NDArray[np.int8]:
    """(N, 1 + G): 1 in the group, 0 not in it, -1 not known; the first column is normality."""
    illnesses = illnesses_of(modality)
    rows = [
        [is_normal(illnesses, e.labels), *(is_in(group, modality, e.labels) for group in groups)]
        for e in found
    ]
    told = [[-1 if value is None else int(value) for value in row] for row in rows]
    return np.asarray(told, dtype=np.int8).reshape(len(found), 1 + len(groups))
