"""What the pages say: JSON forms in, words and numbers out. Pure; the templates only lay it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicom_node.facts import SIDES, finding_name

MODALITY_NAMES = {
    "xray": "Radiograph",
    "ct": "CT",
    "retina": "Fundus photograph",
    "ecg": "12-lead ECG",
    "pathology": "Slide",
}
"""Shown instead of the modality ids of format v1; an id that is not here is shown as it is."""

PRESENCE_ORDER = {"present": 0, "unsure": 1, "absent": 2}

_NO_EVIDENCE = "–"
"""Absent findings carry none, nor do encoders without local vectors."""


@dataclass(frozen=True, slots=True)
class Chip:
    """One finding in the list of studies."""

    name: str
    percent: str
    presence: str


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One line of the findings table."""

    name: str
    side: str
    code: str
    """`value scheme: meaning`, e.g. `233604007 SCT: Pneumonia`."""
    probability: float
    threshold: float
    percent: str
    meaning: str
    """What the probability means against the bundle's threshold."""
    presence: str
    evidence: tuple[str, ...]


def modality_name(modality: str | None) -> str:
    """The usual English word for a modality id; a dash where nothing was readable."""
    return "–" if modality is None else MODALITY_NAMES.get(modality, modality)


def percent(probability: float) -> str:
    """0 to 1 as whole percent; never 0 % or 100 %, which a model cannot claim."""
    if probability < 0.01:
        return "< 1 %"
    if probability > 0.99:
        return "> 99 %"
    return f"{probability * 100:.0f} %"


def chips(findings: Sequence[Mapping[str, Any]]) -> tuple[Chip, ...]:
    """Present findings, then unsure ones, most probable first; absent ones are left to the study's page."""
    return tuple(
        Chip(finding_name(finding), percent(finding["probability"]), str(finding["presence"]))
        for finding in _ordered(findings)
        if finding["presence"] != "absent"
    )


def finding_rows(findings: Sequence[Mapping[str, Any]]) -> tuple[FindingRow, ...]:
    """All findings of an assessment in its JSON form (`facts.finding_to_json`), most important first."""
    return tuple(
        FindingRow(
            name=str(finding["name"]),
            side=SIDES.get(finding.get("laterality") or "", ""),
            code="{value} {scheme}: {meaning}".format(**finding["code"]),
            probability=finding["probability"],
            threshold=finding["threshold"],
            percent=percent(finding["probability"]),
            meaning=meaning(finding["presence"], finding["probability"], finding["threshold"]),
            presence=str(finding["presence"]),
            evidence=tuple(evidence_text(evidence) for evidence in finding["evidence"]) or (_NO_EVIDENCE,),
        )
        for finding in _ordered(findings)
    )


def meaning(presence: str, probability: float, threshold: float) -> str:
    """Why a probability was called present, absent or unsure."""
    if presence == "unsure" and probability >= threshold:
        return "another finding, which excludes this one, is further above its threshold: the model abstains"
    reasons = {
        "present": f"at or above the bundle's threshold of {percent(threshold)}: reported as present",
        "unsure": f"near the threshold of {percent(threshold)}: too close to call, the model abstains",
        "absent": f"below the threshold of {percent(threshold)}: not detected, which rules nothing out",
    }
    return reasons[presence]


def evidence_text(evidence: Mapping[str, Any]) -> str:
    """Where the finding was seen, in words: the outline's bounds in source pixels, or the span in seconds."""
    source = evidence["source"]
    of = f"of instance {source['sop_instance_uid']}"
    if source.get("frame") is not None:
        of += f", frame {source['frame']}"
    share = f"; carries {evidence['share'] * 100:.0f} % of the positive evidence"
    if evidence.get("outline"):
        columns = [point[0] for point in evidence["outline"]]
        rows = [point[1] for point in evidence["outline"]]
        across = f"columns {min(columns):.0f} to {max(columns):.0f}"
        return f"{across}, rows {min(rows):.0f} to {max(rows):.0f} {of}{share}"
    if evidence.get("span"):
        start, end = evidence["span"]
        return f"{start:.1f} s to {end:.1f} s {of}{share}"
    return f"the whole {of}"


def stamp(moment: datetime) -> str:
    """A moment with its zone, to the second, e.g. `2026-11-22 08:15:30 UTC`."""
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname() or ''}".rstrip()


def _ordered(findings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(
        findings, key=lambda finding: (PRESENCE_ORDER.get(finding["presence"], 3), -finding["probability"])
    )
