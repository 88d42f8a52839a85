"""The targets of data/targets.toml: what was asked of the model, what it does, and by how much it misses."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import LabelRule
from m3bind.data.groups import is_normal
from m3bind.evaluate.embedded import Data, Embedded, Ints
from m3bind.evaluate.readings import ColumnsOf, columns_of, labels_by, parse_reading
from m3bind.evaluate.zero_shot import score
from m3bind.metrics import Estimate, interval

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Scores = Callable[[str], Floats | None]
"""Finding id to (N,) scores of val; None where there are none."""

SCALE = 20.0
"""Inverse temperature under which margins become log odds for classes told by several findings."""


@dataclass(frozen=True, slots=True)
class Target:
    """One row; keys as at the head of data/targets.toml."""

    id: str
    modality: str
    task: str
    datasets: frozenset[str]
    findings: tuple[str, ...]
    negative: Literal["absent", "normal"]
    classes: Mapping[str, Mapping[str, int]]
    probe: float
    zero_shot: float
    source: str | None
    leaves_out: str | None
    """Which examples are no part of the task although their data set is, in words."""
    tried: str | None
    """What was tried where it is missed, in words without a full stop."""
    readings: Mapping[str, LabelRule]
    """By name in words: other readings of the labels, measured beside."""


def parse_target(raw: Mapping[str, Any]) -> Target:
    """One table. Raises ConfigError for one that names both a finding and classes, or neither."""
    if ("finding" in raw) == ("classes" in raw):
        raise ConfigError(f"targets.toml: {raw['id']} needs either `finding` or `classes`.")
    return Target(
        id=raw["id"],
        modality=raw["modality"],
        task=raw["task"],
        datasets=frozenset(raw["dataset"]),
        findings=tuple(raw.get("finding", ())),
        negative=raw.get("negative", "absent"),
        classes=raw.get("classes", {}),
        probe=float(raw["probe"]),
        zero_shot=float(raw["zero_shot"]),
        source=raw.get("source"),
        leaves_out=raw.get("leaves_out"),
        tried=raw.get("tried"),
        readings={name: parse_reading(rule) for name, rule in raw.get("readings", {}).items()},
    )


def load_targets() -> tuple[Target, ...]:
    """data/targets.toml."""
    text = (resources.files("m3bind") / "data" / "targets.toml").read_text("utf-8")
    return tuple(parse_target(raw) for raw in tomllib.loads(text)["target"])


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a row came to."""

    estimate: Estimate
    groups: int | None
    """Patients, or near-duplicate groups, of what was measured on; None where it is not told."""
    left_out: int | None
    """Examples of the same data sets that are no part of the task; None where it is not told."""


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """What a checkpoint was made by, for figures in files to be compared with."""

    name: str
    version: str
    settings: Callable[[str], str]
    """Of a modality: `digest.pretrain_digest`."""


def _inside(target: Target, data: Data) -> Bools:
    return np.asarray([e.dataset in target.datasets for e in data.val.found], dtype=np.bool_)


def truth(target: Target, data: Data, finding: str) -> Ints:
    """(N,) of 1, 0 and -1 (not part of the task)."""
    labels = data.val.label(finding)
    if target.negative == "normal":
        normal = np.asarray([is_normal(data.illnesses, e.labels) is True for e in data.val.found])
        labels = np.where(labels == 1, 1, np.where(normal, 0, -1))
    return np.where(_inside(target, data), labels, -1).astype(np.int64)


def class_truth(target: Target, data: Data, states: Mapping[str, int]) -> Ints:
    """(N,) 1 where every state is so, 0 where one is contradicted, -1 where labels do not tell."""
    columns = [(data.val.label(i), s) for i, s in states.items()]
    against = np.any([(c >= 0) & (c != s) for c, s in columns], axis=0)
    towards = np.all([c == s for c, s in columns], axis=0)
    told = np.where(towards, 1, np.where(against, 0, -1))
    return np.where(_inside(target, data), told, -1).astype(np.int64)


def class_score(scores: Scores, states: Mapping[str, int], scale: float) -> Floats | None:
    """(N,) log probability that every state is so, if scores times `scale` were log odds and findings
    independent; None where a finding has no score."""
    total: Floats | None = None
    for finding, state in states.items():
        own = scores(finding)
        if own is None:
            return None
        part = -np.logaddexp(0.0, -scale * own if state == 1 else scale * own)
        total = part if total is None else total + part
    return total


def measure(target: Target, data: Data, scores: Scores, scale: float = SCALE) -> Measured | None:
    """One row by these scores; None where the catalogue or the examples lack what it needs."""
    known = set(data.val.ids)
    if target.classes:
        if not {i for states in target.classes.values() for i in states} <= known:
            return None
        labels = [class_truth(target, data, s) for s in target.classes.values()]
        ranked = [class_score(scores, s, scale) for s in target.classes.values()]
    else:
        finding = next((i for i in target.findings if i in known), None)
        if finding is None:
            return None
        labels, ranked = [truth(target, data, finding)], [scores(finding)]
    parts = []
    for label, score_of in zip(labels, ranked, strict=True):
        if score_of is None or len(np.unique(label[label >= 0])) < 2:
            return None
        parts.append(score(score_of, label, data.val.sets, data.weights))
    draws = np.mean([p.draws for p in parts], axis=0)
    used = labels[0] >= 0
    value = float(np.mean([p.estimate.value for p in parts]))
    positives = sum(p.estimate.positives for p in parts)
    estimate = Estimate(value, *interval(draws), int(used.sum()), positives)
    left_out = int((_inside(target, data) & ~used).sum())
    return Measured(estimate, len(np.unique(data.val.groups[used])), left_out)


def other_readings(target: Target, data: Data, scores: Scores, columns: ColumnsOf) -> dict[str, Any]:
    """By name: the figure of each reading of a target of one finding, for what both classes are there."""
    finding = next((i for i in target.findings if i in set(data.val.ids)), None)
    ranked = None if finding is None else scores(finding)
    told = {}
    for name, rule in target.readings.items():
        labels = labels_by(rule, data.val.found, target.datasets, columns)
        if ranked is not None and len(np.unique(labels[labels >= 0])) == 2:
            told[name] = asdict(score(ranked, labels, data.val.sets, data.weights).estimate)
    return told


def from_file(path: Path, target: Target, made: Made) -> Measured:
    """The figure of the first of the target's findings that `m3bind crossval` wrote.

    Raises ConfigError, which says what to do, for a file that is not there, that tells of none of them, or
    that is of another recipe, version, modality, data set or settings than the checkpoint; settings only
    where the file tells them.
    """
    if not path.is_file():
        raise ConfigError(f"{path.name} is not there: write it with `m3bind crossval --out`.")
    told = json.loads(path.read_text("utf-8"))
    asked = {"recipe": made.name, "version": made.version}
    asked |= {"modality": target.modality} if "modality" in told else {}
    for key, own in asked.items():
        if told.get(key) != own:
            raise ConfigError(f"{path.name} is of {key} {told.get(key)!r}, the checkpoint of {own!r}.")
    if told.get("dataset") not in target.datasets:
        raise ConfigError(f"{path.name} is of the data set {told.get('dataset')!r}.")
    if "settings" in told and told["settings"] != made.settings(target.modality):
        raise ConfigError(
            f"{path.name} is of other settings, labels or captions of {target.modality} than the checkpoint: "
            "write it anew with `m3bind crossval --out`."
        )
    for finding in target.findings:
        if finding in told.get("findings", {}):
            return Measured(Estimate(**told["findings"][finding]), None, None)
    raise ConfigError(
        f"{path.name} tells nothing of {', '.join(target.findings)}: write it with `m3bind crossval --out`."
    )


def _told(measured: Measured | None) -> dict[str, Any] | None:
    if measured is None:
        return None
    e = measured.estimate
    return {
        "value": e.value,
        "low": e.low,
        "high": e.high,
        "n": e.n,
        "positives": e.positives,
        "groups": measured.groups,
        "left_out": measured.left_out,
    }


def rows(
    targets: Sequence[Target],
    data: Mapping[str, Data],
    seen: Mapping[str, Embedded],
    probes: Mapping[str, Mapping[str, Floats]],
    work: Path,
    made: Made,
    columns: ColumnsOf = columns_of,
) -> list[dict[str, Any]]:
    """Every target of a modality that is there: figure, the probe measured here, `missed_by` (0 where it is
    met, None where it was not measured), `why` it was not measured, and its figure by other readings."""
    told = []
    for target in targets:
        own = data.get(target.modality)
        if own is None:
            continue
        embedded, by_probe = seen[target.modality], probes.get(target.modality, {})

        def zero_shot(finding: str, embedded: Embedded = embedded) -> Floats | None:
            return embedded.margins(finding, embedded.val) if finding in embedded.anchors else None

        figure, probe, why = None, None, None
        if target.source is None:
            figure = measure(target, own, zero_shot)
            probe = measure(target, own, by_probe.get, scale=1.0)
        else:
            try:
                figure = from_file(work / target.source, target, made)
            except ConfigError as error:  # one file that is not of this checkpoint costs no other figure
                why = str(error)
        missed = None if figure is None else max(0.0, target.zero_shot - figure.estimate.value)
        told.append(
            {
                "id": target.id,
                "modality": target.modality,
                "task": target.task,
                "probe_given": target.probe,
                "probe_here": _told(probe),
                "target": target.zero_shot,
                "measured": _told(figure),
                "met": None if missed is None else missed == 0.0,
                "missed_by": missed,
                "source": target.source,
                "why": why,
                "leaves_out": target.leaves_out,
                "tried": target.tried,
                "readings": other_readings(target, own, zero_shot, columns) if target.readings else {},
            }
        )
    return told
