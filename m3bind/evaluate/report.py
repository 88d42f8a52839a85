"""All figures of a checkpoint: from its weights to evaluation.json."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3bind.checkpoint import load_checkpoint
from m3bind.commit import commit_of_code
from m3bind.config import Recipe
from m3bind.data.captions import shared_captions
from m3bind.data.groups import Group, load_groups
from m3bind.digest import pretrain_digest
from m3bind.evaluate.cross_modal import GALLERIES, KINDS, MEASURES, Draws, cross_modal
from m3bind.evaluate.embedded import Data, Embedded, embed, load_data
from m3bind.evaluate.few_shot import few_shot, few_shot_probe, tasks_of
from m3bind.evaluate.limits import look_up
from m3bind.evaluate.probe import probe, start_features, training_rows
from m3bind.evaluate.reliability import calibration
from m3bind.evaluate.retrieval import image_text
from m3bind.evaluate.space import plane
from m3bind.evaluate.systems import DISTILLED, NOISE, UNBOUND, systems
from m3bind.evaluate.targets import Made, load_targets, rows
from m3bind.evaluate.zero_shot import Scored, difference, score_modality, zero_shot
from m3bind.loop import Progress
from m3bind.metrics import interval

Floats = NDArray[np.float64]
FORMAT = 3
RETRIEVAL_REPEATS = 500


@dataclass(frozen=True, eq=False)
class Drawn:
    """The figures of one system under every bootstrap sample, to compare with another's sample by sample."""

    zero_shot: Mapping[str, Mapping[str, Scored]]
    """By modality and finding."""
    across: Draws


def measure_system(
    data: Mapping[str, Data],
    seen: Mapping[str, Embedded],
    groups: Sequence[Group],
    fewest: int,
    texts: bool = True,
) -> tuple[dict[str, Any], Drawn]:
    """Zero-shot, image-text (where `texts`) and cross-modal figures of one system, and their draws."""
    told: dict[str, Any] = {"zero_shot": {}, "image_text": {}}
    draws = {}
    for modality, own in data.items():
        told["zero_shot"][modality], draws[modality] = zero_shot(own, seen[modality], fewest)
        told["image_text"][modality] = image_text(own, seen[modality], RETRIEVAL_REPEATS) if texts else {}
    told["cross_modal"], across = cross_modal(seen, data, groups)
    return told, Drawn(draws, across)


def measure_probe(
    recipe: Recipe, data: Mapping[str, Data], cache: Path, progress: Progress
) -> tuple[dict[str, Any], dict[str, Mapping[str, Floats]]]:
    """The supervised baseline of every modality that has one, and its scores on val."""
    told: dict[str, Any] = {"zero_shot": {}, "few_shot": {}}
    scores = {}
    for modality, own in data.items():
        features = start_features(recipe, modality, cache, progress)
        if features is None:
            progress(f"{modality}: no start weights, so no supervised probe")
            continue
        train = training_rows(recipe, own)
        asked = features.of(own.val)
        scores[modality] = probe(own, train, features.of(train), asked)
        fewest = recipe.evaluate.min_positives
        told["zero_shot"][modality] = score_modality(own, scores[modality], fewest, called=False)[0]
        told["few_shot"][modality] = few_shot_probe(own, features.of(own.pool), asked, tasks_of(own, fewest))
    told["supervised"] = told.pop("zero_shot")
    return told, scores


def claims(told: Mapping[str, Any], draws: Mapping[str, Drawn]) -> dict[str, Any]:
    """What binding is to show: zero-shot not below the unbound tower's interval, and cross-modal retrieval at
    least twice the unbound towers' and clear of chance."""
    if UNBOUND not in draws:
        return {}
    ours, theirs = draws[DISTILLED], draws[UNBOUND]
    kept = {m: difference(ours.zero_shot[m], theirs.zero_shot[m]) for m in ours.zero_shot}
    retrieval = {}
    for kind, gallery in product(KINDS, GALLERIES):
        figures = [told[name]["cross_modal"][kind][gallery] for name in (DISTILLED, UNBOUND)]
        if None not in figures:
            gained = ours.across[kind, gallery] - theirs.across[kind, gallery]
            retrieval[f"{kind}, {'pairs' if gallery == GALLERIES[0] else 'all others'}"] = {
                measure: _doubling(figures[0][measure], figures[1][measure], gained[:, i])
                for i, measure in enumerate(MEASURES)
            }
    return {"zero_shot_kept": kept, "cross_modal": retrieval}


def _doubling(ours: Mapping[str, float], theirs: Mapping[str, float], gained: Floats) -> dict[str, Any]:
    """`ratio` is None where the unbound towers' figure is not above 0: any gain is then more than twice.
    `gained` (R,) is ours less theirs under the same samples; `over_chance_low` the lower end of our figure
    less the chance of the same sample, which is what `clear_of_chance` asks to be above 0."""
    base = theirs["value"]
    low, high = interval(gained)
    return {
        "ours": ours["value"],
        "unbound": base,
        "chance": ours.get("chance", 0.0),
        "gain": {"value": ours["value"] - base, "low": low, "high": high},
        "ratio": ours["value"] / base if base > 0 else None,
        "twice": bool(ours["value"] >= 2 * max(base, 0.0)),
        "over_chance_low": ours["over_chance_low"],
        "clear_of_chance": bool(ours["over_chance_low"] > 0.0),
        "most_possible_ratio": 1.0 / base if base > 0 else None,
    }


def evaluate(work: Path, cache: Path, progress: Progress, command: str = "m3bind evaluate") -> dict[str, Any]:
    """Measure the checkpoint in `work` beside its stages, random encoders and a supervised probe; writes
    evaluation.json."""
    began, at_work = time.monotonic(), time.process_time()
    model = load_checkpoint(work)
    recipe, groups = model.recipe, load_groups()
    fewest = recipe.evaluate.min_positives
    data = {m: load_data(recipe, m) for m in recipe.modalities}
    told: dict[str, Any] = {
        "format": FORMAT,
        "recipe": {"name": recipe.name, "version": recipe.version},
        "command": command,
        "commit": model.commit,
        "measured_by": commit_of_code(("m3bind",)),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "split": "val",
        "bootstrap": recipe.evaluate.bootstrap,
        "min_positives": fewest,
        "counts": {m: _counts(d) for m, d in data.items()},
        "shared_sentences": len({c.text for m in recipe.modalities for c in shared_captions(m)}),
        "systems": {},
    }
    draws: dict[str, Drawn] = {}
    distilled: dict[str, Embedded] = {}
    told["space"] = {}
    for system in systems(model, work):
        whole = system.name != NOISE  # of random weights a few figures tell all
        seen = embed(recipe, system, data, cache, progress, shots=whole)
        told["systems"][system.name], draws[system.name] = measure_system(data, seen, groups, fewest, whole)
        if whole:
            told["systems"][system.name]["few_shot"] = {
                m: few_shot(d, seen[m], tasks_of(d, fewest)) for m, d in data.items()
            }
        if system.name in (DISTILLED, UNBOUND):
            told["space"][system.name] = plane(seen, data, groups)
        if system.name == DISTILLED:
            distilled = seen
        progress(f"measured {system.name}: {time.process_time() - at_work:.0f} s of the processor")
    made = Made(recipe.name, recipe.version, lambda modality: pretrain_digest(recipe, modality))
    told["probe"], probes = measure_probe(recipe, data, cache, progress)
    told["calibration"] = {
        m: calibration(d, distilled[m], list(draws[DISTILLED].zero_shot[m])) for m, d in data.items()
    }
    told["targets"] = rows(load_targets(), data, distilled, probes, work, made)
    told["limits"] = look_up(recipe, data)
    told["claims"] = claims(told["systems"], draws)
    told["seconds"] = {
        "wall": round(time.monotonic() - began),
        "processor": round(time.process_time() - at_work),
    }
    told = plain(told)
    (work / "evaluation.json").write_text(json.dumps(told, indent=1, allow_nan=False) + "\n", "utf-8")
    return told


def plain(told: Any) -> Any:
    """As JSON holds it, which has no nan: a figure that does not exist is null."""
    if isinstance(told, dict):
        return {str(k): plain(v) for k, v in told.items()}
    if isinstance(told, list):
        return [plain(v) for v in told]
    return None if isinstance(told, float) and math.isnan(told) else told


def _counts(data: Data) -> dict[str, int]:
    return {
        "val": len(data.val.found),
        "groups": len(np.unique(data.val.groups)),
        "calib": len(data.calib.found),
        "support": len(data.pool.found),
    }
