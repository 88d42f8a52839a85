"""Which sensitivity a finding's threshold is chosen for, and why: `operating.toml` as facts."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources

from dicom_node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding; see the head of the file."""

    name: str
    sensitivities: tuple[float, ...]
    least_specificity: float
    why: str
    findings: tuple[str, ...] | None
    """None: of whatever no other kind names."""


def load_kinds() -> tuple[Kind, ...]:
    """All of them. Raises ConfigError where not exactly one is for what the others do not name."""
    text = (resources.files("export") / "operating.toml").read_text("utf-8")
    kinds = tuple(
        Kind(
            name=raw["name"],
            sensitivities=tuple(raw["sensitivities"]),
            least_specificity=raw["least_specificity"],
            why=raw["why"],
            findings=tuple(raw["findings"]) if "findings" in raw else None,
        )
        for raw in tomllib.loads(text)["kind"]
    )
    if sum(kind.findings is None for kind in kinds) != 1:
        raise ConfigError("operating.toml: exactly one kind must be without `findings`.")
    return kinds


def kind_of(identifier: str) -> Kind:
    """The kind of one finding."""
    kinds = load_kinds()
    named = (kind for kind in kinds if kind.findings is not None and identifier in kind.findings)
    return next(named, next(kind for kind in kinds if kind.findings is None))
