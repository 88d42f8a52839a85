"""What images of different modalities can share: normality, or a group of findings (groups.toml).

Beside the labels of its findings an example has those of its groups, derived from them, under ids with
SHARED before them: what a sentence states that any modality may use ("no abnormality", "cancer").
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import FindingSpec, Labels, illnesses_of, load_findings

NORMAL = "normal"
SHARED = "shared:"
"""Before the id of a group, where it stands among those of findings."""


@dataclass(frozen=True, slots=True)
class Group:
    """Findings of several modalities that are one thing."""

    id: str
    name: str
    findings: frozenset[str]

    def shown_by(self, modality: str) -> bool:
        """Whether any of its findings is of this modality."""
        return any(i.split(".")[0] == modality for i in self.findings)


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


def shared_labels(
    modality: str, found: Sequence[Labels], groups: Sequence[Group] | None = None
) -> list[dict[str, int | None]]:
    """What the groups are of each example of one modality: 1, 0, or None where nobody knows. Groups that the
    modality cannot show are not told at all."""
    illnesses = illnesses_of(modality)
    own = [group for group in (load_groups() if groups is None else groups) if group.shown_by(modality)]
    return [
        {
            f"{SHARED}{NORMAL}": _number(is_normal(illnesses, labels)),
            **{f"{SHARED}{group.id}": _number(is_in(group, modality, labels)) for group in own},
        }
        for labels in found
    ]


def _number(value: bool | None) -> int | None:
    return None if value is None else int(value)
