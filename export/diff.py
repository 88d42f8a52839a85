"""What changed between two bundles: files, encoders, findings, thresholds, and the figures side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dicom_node.bundle.catalogue import FindingEntry, Fraction
from dicom_node.bundle.store import Bundle

Verdict = Literal["same", "higher", "lower", "unknown"]


@dataclass(frozen=True, slots=True)
class Names:
    """What stands in one of the bundles alone, and what in both but not alike; sorted."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One value."""

    what: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure of a finding that both bundles hold."""

    finding: str
    what: str
    """`auc`, `sensitivity` or `specificity`."""
    before: tuple[float, float, float] | None
    """Value, and its 95 % interval; None where it was not measured."""
    after: tuple[float, float, float] | None
    verdict: Verdict
    """`same` where the intervals overlap: the difference may be chance. Two bundles measured on the same
    examples may differ in earnest all the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """All of it; see `difference`."""

    before: str
    after: str
    """Name, version and digest."""
    files: Names
    manifest: tuple[Change, ...]
    """Of the manifest but for files, encoders, text, provenance; of the latter commit and data."""
    encoders: Names
    settings: tuple[Change, ...]
    """Of encoders that both hold and of the text encoder, by `encoder.field`."""
    findings: Names
    switched: tuple[Change, ...]
    """Findings that were turned on or off, with the reason."""
    thresholds: tuple[Change, ...]
    figures: tuple[Figure, ...]
    scope: Names

    def to_json(self) -> dict[str, Any]:
        """As plain lists and tables."""
        return asdict(self)


def difference(before: Bundle, after: Bundle) -> Difference:
    """From `before` to `after`."""
    old, new = before.manifest.model_dump(mode="json"), after.manifest.model_dump(mode="json")
    was, now = ({entry.id: entry for entry in bundle.findings} for bundle in (before, after))
    both = [identifier for identifier in now if identifier in was]
    apart = {"files", "encoders", "text", "provenance"}
    return Difference(
        before=_identity(before),
        after=_identity(after),
        files=_names(old["files"], new["files"]),
        manifest=(
            *_changes("", {k: v for k, v in old.items() if k not in apart}, new),
            *(_changes("provenance.", _origin(old), _origin(new))),
        ),
        encoders=_names(old["encoders"], new["encoders"]),
        settings=(
            *(
                change
                for name, encoder in old["encoders"].items()
                if name in new["encoders"]
                for change in _changes(f"{name}.", encoder, new["encoders"][name])
            ),
            *_changes("text.", old["text"], new["text"]),
        ),
        findings=_names(_meaning(was), _meaning(now)),
        switched=tuple(
            Change(i, _switch(was[i]), _switch(now[i])) for i in both if was[i].enabled != now[i].enabled
        ),
        thresholds=tuple(
            change
            for i in both
            for key in ("threshold", "unsure_from")
            for change in _changes(f"{i}.", {key: getattr(was[i], key)}, {key: getattr(now[i], key)})
        ),
        figures=tuple(figure for i in both for figure in _figures(was[i], now[i])),
        scope=_names(
            {name: entry.model_dump() for name, entry in before.scope.items()},
            {name: entry.model_dump() for name, entry in after.scope.items()},
        ),
    )


def _identity(bundle: Bundle) -> str:
    return f"{bundle.identity.name} {bundle.identity.version} ({bundle.identity.digest[:12]})"


def _origin(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: manifest["provenance"][key] for key in ("commit", "data")}


def _names(before: Mapping[str, Any], after: Mapping[str, Any]) -> Names:
    return Names(
        added=tuple(sorted(set(after) - set(before))),
        removed=tuple(sorted(set(before) - set(after))),
        changed=tuple(sorted(k for k in set(before) & set(after) if before[k] != after[k])),
    )


def _changes(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    return [
        Change(prefix + key, before[key], after.get(key)) for key in before if before[key] != after.get(key)
    ]


def _meaning(entries: Mapping[str, FindingEntry]) -> dict[str, Any]:
    """What a finding is and how it is scored: name, code, prompts, group, calibration."""
    kept = {"name", "code", "prompts", "group", "calibration"}
    return {identifier: entry.model_dump(include=kept) for identifier, entry in entries.items()}


def _switch(entry: FindingEntry) -> str:
    return "on" if entry.enabled else f"off: {entry.disabled_because}"


Interval = tuple[float, float, float]


def _figures(before: FindingEntry, after: FindingEntry) -> list[Figure]:
    told = []
    for what, was, now in zip(("auc", "sensitivity", "specificity"), _of(before), _of(after), strict=True):
        if was is not None or now is not None:
            told.append(Figure(after.id, what, was, now, verdict(was, now)))
    return told


def _of(entry: FindingEntry) -> Sequence[Interval | None]:
    def interval(part: Fraction | None) -> Interval | None:
        return None if part is None else (part.value, *part.ci)

    point, measured = entry.operating_point, entry.measured
    return (
        None if measured is None else (measured.auc, *measured.auc_ci),
        interval(None if point is None else point.sensitivity),
        interval(None if point is None else point.specificity),
    )


def verdict(before: Interval | None, after: Interval | None) -> Verdict:
    """Whether two intervals (value, low, high) lie apart."""
    if before is None or after is None:
        return "unknown"
    if after[1] > before[2]:
        return "higher"
    return "lower" if after[2] < before[1] else "same"
