"""findings/*.toml of the trainer to entries of findings.json, and which of them are on."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from m3bind.data.captions import prompts
from m3bind.data.catalogue import FindingSpec, findings_of
from m3bind.metrics import Estimate

UNCALIBRATED = Calibration(slope=1.0, intercept=0.0)
LEAST_AUC = 0.70
"""On val; what lies below is off."""
LEAST_POSITIVES = 8
"""In val; of fewer a figure says nothing."""


def drafts(modalities: Sequence[str]) -> tuple[FindingEntry, ...]:
    """Every concept of these modalities that has a code, with its prompts; calibration comes later. What has
    none is for captions and search."""
    return tuple(entry for m in modalities for spec in findings_of(m) if (entry := _draft(spec)) is not None)


def why_off(auc: Estimate | None, positives: int, trouble: str | None) -> str | None:
    """Why a finding is not reported unless a node's configuration names it; None where it is.

    `auc` and `positives` are of val, `auc` None where val lacks one of the classes; `trouble` is why it could
    not be calibrated.
    """
    reasons = []
    if positives < LEAST_POSITIVES:
        reasons.append(f"val has {positives or 'no'} {'example' if positives == 1 else 'examples'} with it")
    elif auc is None:
        reasons.append("val has no example without it")
    elif auc.value < LEAST_AUC:
        reasons.append(f"AUC on val is {auc.value:.3f}, below {LEAST_AUC:.2f}")
    if trouble is not None:
        reasons.append(trouble)
    return "; ".join(reasons) or None


def _draft(spec: FindingSpec) -> FindingEntry | None:
    if spec.code is None:
        return None
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
