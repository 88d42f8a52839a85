"""What images of different modalities can share: normality, or a group of findings (data/groups.toml)."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import FindingSpec, Labels, illnesses_of, load_findings
from m3bind.data.examples import Example

NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of several modalities that are one thing."""

    id: str
    name: str
    findings: frozenset[str]


def parse_groups(raw: dict[str, Any], known: Collection[str]) -> tuple[Group, ...]:
    """The groups of groups.toml. Raises ConfigError for a finding that is not among `known`, or a group of
    fewer than two modalities."""
    groups = tuple(Group(g["id"], g["name"], frozenset(g["finding"])) for g in raw["group"])
    for group in groups:
        if strange := sorted(group.findings - frozenset(known)):
            raise ConfigError(
                f"groups.toml: {group.id} names {', '.join(strange)}, which no findings/*.toml has."
            )
        if len({i.split(".")[0] for i in group.findings}) < 2:
            raise ConfigError(f"groups.toml: {group.id} lies in one modality only, so nothing can share it.")
    return groups


def load_groups() -> tuple[Group, ...]:
    """data/groups.toml, checked against the findings."""
    text = (resources.files("m3bind") / "data" / "groups.toml").read_text("utf-8")
    return parse_groups(tomllib.loads(text), [f.id for f in load_findings()])


def is_normal(illnesses: Sequence[FindingSpec], labels: Labels) -> bool | None:
    """By the illnesses of a modality: False where one is present; True where every one is known to be absent,
    or a general one is (who has any other has that one too); None where nobody knows."""
    values = [labels.get(f.id) for f in illnesses]
    if 1 in values:
        return False
    if any(f.general and labels.get(f.id) == 0 for f in illnesses):
        return True
    return None if None in values else True


def is_in(group: Group, modality: str, labels: Labels) -> bool | None:
    """Whether an example is in the group; None where its labels do not tell, or its modality has no such."""
    values = [labels.get(i) for i in group.findings if i.split(".")[0] == modality]
    if 1 in values:
        return True
    return None if not values or None in values else False


def membership(modality: str, found: Sequence[Example], groups: Sequence[Group]) -> NDArray[np.int8]:
    """(N, 1 + G): 1 in the group, 0 not in it, -1 not known; the first column is normality."""
    illnesses = illnesses_of(modality)
    rows = [
        [is_normal(illnesses, e.labels), *(is_in(group, modality, e.labels) for group in groups)]
        for e in found
    ]
    told = [[-1 if value is None else int(value) for value in row] for row in rows]
    return np.asarray(told, dtype=np.int8).reshape(len(found), 1 + len(groups))
