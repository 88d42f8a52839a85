"""One study: from vectors to what is said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Pooling
from dicom_node.errors import InferenceError
from dicom_node.findings.calibrate import log_odds, margin_at, probability
from dicom_node.findings.evidence import find_evidence
from dicom_node.findings.prompts import Anchors
from dicom_node.findings.scope import ScopeStatistics, Strangeness, judge_scope
from dicom_node.findings.score import mean_embedding, pool_margins, sample_margins
from dicom_node.records import (
    Assessment,
    BundleIdentity,
    Code,
    Finding,
    Presence,
    Skipped,
    Status,
    StudyRead,
    View,
    ViewSummary,
    ViewVectors,
)


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """What a bundle knows of one modality."""

    findings: tuple[FindingEntry, ...]
    anchors: Anchors
    """One row per finding, in the same order."""
    pooling: Pooling
    scope: ScopeStatistics | None
    """None: nothing is out of scope, but for what the reader found strange."""


def assess(
    study_uid: str,
    read: StudyRead,
    vectors: Sequence[ViewVectors],
    knowledge: Mapping[str, Knowledge],
    bundle: BundleIdentity,
    seconds: Mapping[str, float],
) -> Assessment:
    """Judge a study from its views and their vectors (one each, in order); `knowledge` is by modality id.

    A view out of scope gives no findings. Of several views of the same side in scope each finding keeps the
    one where it is most probable; the two eyes are judged apart, and so are views of which only some tell
    their side. Raises InferenceError for a view of a modality that the bundle does not know.
    """
    summaries, candidates = [], []
    for index, (view, answer) in enumerate(zip(read.views, vectors, strict=True)):
        known = knowledge.get(view.modality)
        if known is None:
            raise InferenceError(f"The bundle has no encoder for modality {view.modality}.")
        summary = summarise(view, answer, known.scope)
        summaries.append(summary)
        if summary.in_scope:
            candidates.append((index, view, answer, known))
    findings = _findings(candidates)
    status, reason = _outcome(summaries, read.skipped)
    return Assessment(
        study_uid=study_uid,
        modality=next((s.modality for s in sorted(summaries, key=lambda s: not s.in_scope)), None),
        status=status,
        reason=reason,
        findings=findings,
        views=tuple(summaries),
        skipped=read.skipped,
        bundle=bundle,
        seconds=dict(seconds),
    )


def summarise(view: View, vectors: ViewVectors, scope: ScopeStatistics | None) -> ViewSummary:
    """A view's place in the shared space, and whether its encoder was made for it."""
    found = Strangeness(0.0, None) if scope is None else judge_scope(view.modality, vectors, scope)
    reason = found.reason or view.strange
    return ViewSummary(
        modality=view.modality,
        series_uid=view.series_uid,
        sources=view.sources,
        embedding=mean_embedding(vectors.embeddings),
        in_scope=reason is None,
        scope_score=found.score,
        reason=reason,
        laterality=view.laterality,
        notes=view.notes,
        traits=view.traits,
        view_position=view.view_position,
    )


def presence(value: float, threshold: float, unsure_from: float | None) -> Presence:
    """What is said at a calibrated probability of `value`."""
    if value >= threshold:
        return Presence.PRESENT
    if unsure_from is not None and value >= unsure_from:
        return Presence.UNSURE
    return Presence.ABSENT


def exclude(findings: Sequence[Finding], groups: Mapping[str, str | None]) -> tuple[Finding, ...]:
    """Of findings that exclude each other (same group, same side) only the one furthest above its own
    threshold, in log odds, may be present; where it is, the software abstains on the others that are above
    theirs. `groups` gives each finding id its group, None for none.

    Thresholds of one group may lie far apart: 60 % is far above one of 23 % and at the edge of one of 60 %.
    """
    best: dict[tuple[str, str | None], Finding] = {}
    for finding in findings:
        group = groups[finding.id]
        if group is None:
            continue
        rival = best.setdefault((group, finding.laterality), finding)
        if excess(finding) > excess(rival):
            best[group, finding.laterality] = finding

    def kept(finding: Finding) -> Finding:
        group = groups[finding.id]
        if group is None or finding.presence is not Presence.PRESENT:
            return finding
        if best[group, finding.laterality] is finding:
            return finding
        return replace(finding, presence=Presence.UNSURE)

    return tuple(kept(finding) for finding in findings)


def excess(finding: Finding) -> float:
    """Log odds of a finding's probability above those of its threshold; negative below it."""
    return log_odds(finding.probability) - log_odds(finding.threshold)


Candidate = tuple[int, View, ViewVectors, Knowledge]


def _findings(candidates: Sequence[Candidate]) -> tuple[Finding, ...]:
    scored: dict[tuple[str, str | None], tuple[Finding, FindingEntry, Candidate]] = {}
    for candidate in candidates:
        index, view, vectors, known = candidate
        margins = pool_margins(sample_margins(vectors.embeddings, known.anchors), known.pooling)
        for entry, margin in zip(known.findings, margins.tolist(), strict=True):
            finding = _score(entry, margin, view, index)
            key = (entry.id, view.laterality)
            if key not in scored or finding.probability > scored[key][0].probability:
                scored[key] = (finding, entry, candidate)
    groups = {entry.id: entry.group for _, entry, _ in scored.values()}
    said = exclude([finding for finding, _, _ in scored.values()], groups)
    return tuple(_with_evidence(finding, *scored[finding.id, finding.laterality][1:]) for finding in said)


def _score(entry: FindingEntry, margin: float, view: View, index: int) -> Finding:
    value = probability(margin, entry.calibration)
    return Finding(
        id=entry.id,
        name=entry.name,
        code=Code(entry.code.value, entry.code.scheme, entry.code.meaning),
        modality=entry.modality,
        probability=value,
        margin=margin,
        threshold=entry.threshold,
        presence=presence(value, entry.threshold, entry.unsure_from),
        series_uid=view.series_uid,
        view=index,
        laterality=view.laterality,
        unsure_from=entry.unsure_from,
    )


def _with_evidence(finding: Finding, entry: FindingEntry, candidate: Candidate) -> Finding:
    """With its region, unless it is absent: what is not there has no place."""
    if finding.presence is Presence.ABSENT:
        return finding
    _, view, vectors, known = candidate
    direction = known.anchors.directions[known.anchors.ids.index(entry.id)]
    spoken_from = entry.threshold if entry.unsure_from is None else entry.unsure_from
    demanded = margin_at(spoken_from, entry.calibration)
    return replace(finding, evidence=find_evidence(view, vectors, direction, known.pooling, demanded))


def _outcome(summaries: Sequence[ViewSummary], skipped: Sequence[Skipped]) -> tuple[Status, str | None]:
    if any(summary.in_scope for summary in summaries):
        return Status.REPORTED, None
    if summaries:
        return Status.OUT_OF_SCOPE, next(s.reason for s in summaries if s.reason)
    if not skipped:
        return Status.REFUSED, "The study holds no instance."
    counted = Counter(s.reason for s in skipped)
    slugs = ", ".join(f"{reason} ({count})" for reason, count in counted.most_common())
    first = next(s.message for s in skipped if s.reason == counted.most_common(1)[0][0])
    return Status.REFUSED, f"No instance could be used: {slugs}. {first}"
