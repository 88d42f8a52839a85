"""findings/*.toml of the trainer to entries of findings.json, still without calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.errors import ConfigError
from m3bind.data.captions import prompts
from m3bind.data.catalogue import FindingSpec, findings_of

UNCALIBRATED = Calibration(slope=1.0, intercept=0.0)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A finding that does not go into the bundle, and why."""

    id: str
    reason: str


def drafts(modalities: Sequence[str]) -> tuple[FindingEntry, ...]:
    """Every reported finding of these modalities, with its prompts and code; calibration comes later."""
    return tuple(_draft(spec) for m in modalities for spec in findings_of(m, reported_only=True))


def _draft(spec: FindingSpec) -> FindingEntry:
    if spec.code is None:
        raise ConfigError(f"findings/*.toml: {spec.id} is reported but has no code.")
    affirmed, negated = prompts(spec)
    return FindingEntry(
        id=spec.id,
        modality=spec.modality,
        name=spec.name,
        code=CodeEntry(value=spec.code.value, scheme=spec.code.scheme, meaning=spec.code.meaning),
        prompts=Prompts(affirmed=affirmed, negated=negated),
        group=spec.group,
        calibration=UNCALIBRATED,
        threshold=0.5,
    )
