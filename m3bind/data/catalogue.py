"""findings/*.toml as facts: what can be found, its name and code, and what a data set's labels say of it.

One file per modality. Keys of an entry:

    code      SNOMED CT (SCT) or DICOM (DCM): value, scheme, meaning
    terms     how people write it; the first two make the prompts
    group     findings of one group exclude each other
    report    false: known to captions and search, not reported; `why` says why not, for the model card
    general   true: who has any other finding of the modality in this data has this one too
    illness   false: no finding at all (a kind of tissue)
    labels.<data set>   tokens of one column decide, in this order: `present` -> 1, `unknown` -> not known,
              `absent` -> 0, else `otherwise` (1, 0 or "unknown"). A data set that is not named is not known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from dicom_node.errors import ConfigError
from dicom_node.records import Code

Labels = Mapping[str, int | None]
"""Finding id to 1 (present), 0 (absent) or None (not known)."""


@dataclass(frozen=True, slots=True)
class LabelRule:
    """How the tokens of one column of one data set tell a finding; see the head of this module."""

    column: str
    present: frozenset[str]
    unknown: frozenset[str]
    absent: frozenset[str]
    otherwise: int | None

    def apply(self, tokens: Collection[str]) -> int | None:
        """1, 0 or None."""
        found = frozenset(tokens)
        if found & self.present:
            return 1
        if found & self.unknown:
            return None
        if found & self.absent:
            return 0
        return self.otherwise


@dataclass(frozen=True, slots=True)
class FindingSpec:
    """One entry of findings/*.toml."""

    id: str
    modality: str
    name: str
    code: Code | None
    """None for concepts that are not reported."""
    terms: tuple[str, ...]
    group: str | None
    report: bool
    """False: known to captions and search, never reported."""
    why: str | None
    """Why it is not reported; None where it is."""
    general: bool
    """Whoever has any other finding of the modality has this one too, in this data: it can be told from
    health only."""
    illness: bool
    """False for what is no finding at all, such as a kind of tissue."""
    rules: Mapping[str, LabelRule]
    """By data set."""


def _rule(raw: Mapping[str, Any]) -> LabelRule:
    otherwise = raw.get("otherwise", "unknown")
    return LabelRule(
        column=raw["column"],
        present=frozenset(raw.get("present", ())),
        unknown=frozenset(raw.get("unknown", ())),
        absent=frozenset(raw.get("absent", ())),
        otherwise=None if otherwise == "unknown" else int(otherwise),
    )


def parse_finding(raw: Mapping[str, Any]) -> FindingSpec:
    """One table of findings/*.toml. Raises ConfigError for one that is reported without a code, or silent
    without a reason."""
    report = bool(raw.get("report", True))
    if report and "code" not in raw:
        raise ConfigError(f"findings/*.toml: {raw['id']} is reported but has no code.")
    if report == ("why" in raw):
        raise ConfigError(f"findings/*.toml: {raw['id']} needs `why` if it is not reported, and only then.")
    return FindingSpec(
        id=raw["id"],
        modality=raw["modality"],
        name=raw["name"],
        code=Code(*raw["code"]) if "code" in raw else None,
        terms=tuple(raw["terms"]),
        group=raw.get("group"),
        report=report,
        why=raw.get("why"),
        general=bool(raw.get("general", False)),
        illness=bool(raw.get("illness", True)),
        rules={dataset: _rule(rule) for dataset, rule in raw["labels"].items()},
    )


def load_findings() -> tuple[FindingSpec, ...]:
    """All entries, by file name and in the order of each file."""
    folder = resources.files("m3bind") / "data" / "findings"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(parse_finding(raw) for f in files for raw in tomllib.loads(f.read_text("utf-8"))["finding"])


def findings_of(modality: str) -> tuple[FindingSpec, ...]:
    """Entries of one modality, the concepts for captions only among them."""
    return tuple(f for f in load_findings() if f.modality == modality)


def illnesses_of(modality: str) -> tuple[FindingSpec, ...]:
    """Entries of one modality that are findings, reported or not."""
    return tuple(f for f in findings_of(modality) if f.illness)


def labels_of(
    specs: tuple[FindingSpec, ...], dataset: str, columns: Mapping[str, Collection[str]]
) -> dict[str, int | None]:
    """Labels of one example whose data set's columns hold these tokens."""
    labels: dict[str, int | None] = {}
    for spec in specs:
        rule = spec.rules.get(dataset)
        labels[spec.id] = None if rule is None else rule.apply(columns[rule.column])
    return labels
