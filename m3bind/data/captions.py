"""Captions: sentences with what they state, made from templates kept as data (captions.toml).

A caption states findings (present or absent). Beside an image whose labels are known it is either true,
false, or neither; that relation, not "the caption that happened to be drawn with the image", is what the
contrastive loss learns. So two images with the same finding never push each other's captions away.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import FindingSpec, Labels, findings_of
from m3bind.data.groups import NORMAL, SHARED, load_groups, shared_labels
from m3bind.data.statements import report_statements

UNKNOWN = -1
MOST_PAIRS = 600
"""Sentences with two findings in the pool of one modality; 26 findings of an ECG would make 2,000."""
REPORTED = "ecg"
"""The one modality whose data bring the reports of physicians."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A sentence and what it states: finding id to 1 (present) or 0 (absent)."""

    text: str
    states: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Templates:
    """captions.toml for one modality."""

    affirmed: tuple[str, ...]
    negated: tuple[str, ...]
    both: tuple[str, ...]
    prompt_affirmed: tuple[str, ...]
    prompt_negated: tuple[str, ...]
    image: tuple[str, ...]
    normal: tuple[str, ...]
    normal_leaves_open: tuple[str, ...]
    normal_denies: tuple[str, ...] | None
    """What a normal image has none of; None: everything but `normal_leaves_open`."""


def load_templates(modality: str) -> Templates:
    """The templates of one modality. Raises ConfigError for one that captions.toml lacks."""
    text = (resources.files("m3bind") / "data" / "captions.toml").read_text("utf-8")
    raw: dict[str, Any] = tomllib.loads(text)
    own = raw["modality"].get(modality)
    if own is None:
        raise ConfigError(f"captions.toml has no [modality.{modality}]: write what its images are called.")
    return Templates(
        affirmed=tuple(raw["affirmed"]),
        negated=tuple(raw["negated"]),
        both=tuple(raw["both"]),
        prompt_affirmed=tuple(raw["prompt_affirmed"]),
        prompt_negated=tuple(raw["prompt_negated"]),
        image=tuple(own["image"]),
        normal=tuple(own["normal"]),
        normal_leaves_open=tuple(own.get("normal_leaves_open", ())),
        normal_denies=tuple(own["normal_denies"]) if "normal_denies" in own else None,
    )


def _fill(frames: Sequence[str], images: Sequence[str], **words: str) -> list[str]:
    """Every frame with every word for the image (once where the frame names none)."""
    texts = [frame.format(image=image, **words) for frame, image in product(frames, images)]
    return list(dict.fromkeys(texts))


def prompts(spec: FindingSpec) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Texts for and against one finding, as the bundle carries them."""
    templates = load_templates(spec.modality)
    sides = []
    for frames in (templates.prompt_affirmed, templates.prompt_negated):
        texts = [t for term in spec.terms[:2] for t in _fill(frames, templates.image[:1], term=term)]
        sides.append(tuple(texts))
    if spec.id.endswith(".abnormal"):
        sides[1] += templates.normal[:2]
    return sides[0], sides[1]


def caption_pool(modality: str) -> tuple[Caption, ...]:
    """Every caption of one modality, always in the same order, no text twice."""
    templates = load_templates(modality)
    specs = findings_of(modality)
    captions: list[Caption] = []
    for spec in specs:
        for term in spec.terms:
            captions += [
                Caption(t, {spec.id: 1}) for t in _fill(templates.affirmed, templates.image, term=term)
            ]
            captions += [
                Caption(t, {spec.id: 0}) for t in _fill(templates.negated, templates.image, term=term)
            ]
    captions += _pairs(templates, specs)
    denied = templates.normal_denies
    if denied is None:
        denied = tuple(s.id for s in specs if s.id not in templates.normal_leaves_open)
    captions += [Caption(text, dict.fromkeys(denied, 0)) for text in templates.normal]
    return tuple({c.text: c for c in captions}.values())


def _pairs(templates: Templates, specs: Sequence[FindingSpec]) -> list[Caption]:
    """One finding present, another absent; at most MOST_PAIRS sentences, evenly spaced through all."""
    captions = []
    for spec, other in product(specs, specs):
        if spec.id != other.id:
            texts = _fill(templates.both, templates.image[:1], term=spec.terms[0], other=other.terms[0])
            captions += [Caption(t, {spec.id: 1, other.id: 0}) for t in texts]
    if len(captions) <= MOST_PAIRS:
        return captions
    return [captions[i * len(captions) // MOST_PAIRS] for i in range(MOST_PAIRS)]


def training_captions(modality: str) -> tuple[Caption, ...]:
    """The pool, and after it what real reports of training patients say (`reports.py`); no text twice."""
    pool = caption_pool(modality)
    known = {c.text for c in pool}
    said = report_statements() if modality == REPORTED else {}
    return pool + tuple(Caption(text, states) for text, states in said.items() if text not in known)


def shared_captions(modality: str) -> tuple[Caption, ...]:
    """Sentences that any modality may use, of the groups that this one can show (captions.toml, `shared`):
    the very same texts in every modality. They name no kind of image, and state a group, not a finding."""
    text = (resources.files("m3bind") / "data" / "captions.toml").read_text("utf-8")
    raw: dict[str, dict[str, list[str]]] = tomllib.loads(text)["shared"]
    groups = load_groups()
    own = {NORMAL, *(g.id for g in groups if g.shown_by(modality))}
    if strange := sorted(raw.keys() - {NORMAL, *(g.id for g in groups)}):
        raise ConfigError(f"captions.toml: shared names {', '.join(strange)}, which groups.toml lacks.")
    return tuple(
        Caption(sentence, {f"{SHARED}{group}": int(side == "affirmed")})
        for group, sides in raw.items()
        if group in own
        for side in ("affirmed", "negated")
        for sentence in sides[side]
    )


def stated(
    modality: str, found: Sequence[Labels], captions: Sequence[Caption]
) -> tuple[int, NDArray[np.int8], NDArray[np.int8]]:
    """Labels (N, F + G) of examples and statements (M, F + G) of captions over the same columns: the F
    findings of the modality, and after them the G groups that the captions state. Returns F first."""
    ids = [f.id for f in findings_of(modality)]
    groups = sorted({i for c in captions for i in c.states if i.startswith(SHARED)})
    told: Sequence[Labels] = found
    if groups:
        shared = shared_labels(modality, found)
        told = [{**labels, **of} for labels, of in zip(found, shared, strict=True)]
    return len(ids), label_matrix(told, [*ids, *groups]), state_matrix(captions, [*ids, *groups])


def label_matrix(labels: Sequence[Labels], ids: Sequence[str]) -> NDArray[np.int8]:
    """(N, F) of 1, 0, UNKNOWN."""
    rows = [[UNKNOWN if (v := each.get(i)) is None else v for i in ids] for each in labels]
    return np.asarray(rows, dtype=np.int8).reshape(len(labels), len(ids))


def state_matrix(captions: Sequence[Caption], ids: Sequence[str]) -> NDArray[np.int8]:
    """(M, F) of 1, 0, UNKNOWN (not stated)."""
    return label_matrix([c.states for c in captions], ids)


def relation(labels: NDArray[np.int8], states: NDArray[np.int8]) -> NDArray[np.int8]:
    """(N, M): 1 where the caption is true of the image, 0 where false, UNKNOWN where its labels do not tell.

    False as soon as one statement is contradicted; true only when every statement is confirmed.
    """
    is_1, is_0 = (labels == 1).astype(np.float32), (labels == 0).astype(np.float32)
    says_1, says_0 = (states == 1).astype(np.float32), (states == 0).astype(np.float32)
    false = is_1 @ says_0.T + is_0 @ says_1.T > 0
    confirmed = is_1 @ says_1.T + is_0 @ says_0.T
    true = confirmed == (says_1 + says_0).sum(axis=1)
    return np.where(false, 0, np.where(true, 1, UNKNOWN)).astype(np.int8)
