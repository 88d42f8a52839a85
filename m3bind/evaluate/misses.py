"""What is not met, by how much, and what the figures say of why. Pure: figures in, lines out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import limits
from m3bind.evaluate.cross_modal import KINDS
from m3bind.evaluate.reliability import TARGET
from m3bind.evaluate.retrieval import RANKS
from m3bind.evaluate.systems import DISTILLED, UNBOUND
from m3bind.evaluate.tables import number, with_chance, with_interval

Told = Mapping[str, Any]


def _target(row: Told) -> str:
    """One target that is missed: whether chance explains it, and whether the probe does better."""
    figure, probe = row["measured"], row["probe_here"]
    groups = "" if figure["groups"] is None else f" of {figure['groups']} groups"
    holds = "holds" if figure["high"] >= row["target"] else "does not hold"
    said = [
        f"{row['task']}: {number(figure['value'])}, by {number(row['missed_by'])} below",
        f"{number(row['target'])}. The interval ({number(figure['low'])} to {number(figure['high'])};",
        f"{figure['positives']} positives{groups}) {holds} the target.",
    ]
    if probe is not None and probe["value"] >= row["target"]:
        said.append(f"The supervised probe ({with_interval(probe)}) meets it on the same images, so they can")
        said.append("be told apart: what is missing was lost in training or in the prompts.")
    elif probe is not None:
        said.append(f"The supervised probe ({with_interval(probe)}) misses it too.")
    if row.get("tried"):
        said.append(f"Tried: {row['tried']}.")
    return f"- {' '.join(said)}"


def _short_of(claims: Told, key: str) -> list[str]:
    """Measures by gallery of which a verdict does not hold; none that no model could reach."""
    lines = []
    for gallery, measures in claims.items():
        short = [m for m, c in measures.items() if not c[key] and (key != "twice" or _can_double(c))]
        if short:
            lines.append(f"{', '.join(short)} ({gallery})")
    return lines


def _can_double(claim: Told) -> bool:
    most = claim["most_possible_ratio"]
    return most is None or most >= 2


def _claims(claims: Told) -> list[str]:
    if not claims:
        return ["- The towers before binding are not there: the two claims of binding were not measured."]
    lines = []
    lost = [m for m, c in claims["zero_shot_kept"].items() if c is not None and not c["kept"]]
    if lost:
        lines.append(f"- Zero-shot of M3Bind lies below the unbound towers' interval: {', '.join(lost)}.")
    verdicts = {"twice": "less than twice the unbound towers'", "clear_of_chance": "not clear of chance"}
    for key, verdict in verdicts.items():
        short = _short_of(claims["cross_modal"], key)
        if short:
            lines.append(f"- Retrieval across modalities, {verdict}: {'; '.join(short)}.")
    return lines


def calibration(calibrated: Told) -> list[str]:
    """How many findings are within the target, and which are not."""
    errors = {
        i: f["expected_calibration_error"] for own in calibrated.values() for i, f in own["findings"].items()
    }
    over = {i: e for i, e in errors.items() if e["value"] > TARGET}
    lines = [f"{len(errors) - len(over)} of {len(errors)} findings are at {number(TARGET)} or below."]
    by_chance = [i for i, e in over.items() if e["value"] <= e["perfect_high"]]
    sure = [i for i in over if i not in by_chance]
    if by_chance:
        told = ", ".join(f"{i} {number(over[i]['value'])}" for i in by_chance)
        lines.append(f"Above it, but no more than perfect probabilities may show by chance: {told}.")
    if sure:
        told = ", ".join(f"{i} {number(over[i]['value'])}" for i in sure)
        lines.append(f"Above it, and by more than chance: {told}.")
    cuts = [f["threshold"] for own in calibrated.values() for f in own["findings"].values() if f["threshold"]]
    holding = [c for c in cuts if c["sensitivity"]["high"] >= c["sensitivity_aimed_at"]]
    if cuts:
        aimed = number(cuts[0]["sensitivity_aimed_at"])
        lines.append(
            f"Of {len(cuts)} thresholds chosen for a sensitivity of {aimed} on `calib`, the interval of what"
            f" they keep on `val` reaches it for {len(holding)}."
        )
    return [*lines, ""]


def _met(rows: list[Told]) -> int:
    return sum(1 for row in rows if row["met"])


def _texts_at_chance(systems: Told) -> list[str]:
    """What the distilled model retrieves no better than chance between images and captions."""
    ours, before = systems[DISTILLED]["image_text"], systems.get(UNBOUND, {}).get("image_text", {})
    told = []
    for modality, ways in ours.items():
        for way, own in ways.items():
            for rank in (f"R@{k}" for k in RANKS if f"R@{k}" in own):
                if own[rank]["low"] > own[rank]["chance"]:
                    continue
                there = before.get(modality, {}).get(way, {}).get(rank)
                beside = f" (unbound towers {number(there['value'])})" if there else ""
                told.append(f"{modality} {way.replace('_', ' ')} {rank} {with_chance(own[rank])}{beside}")
    return [f"- Between images and captions, the interval reaches chance: {'; '.join(told)}."] if told else []


def _groups_at_chance(systems: Told) -> list[str]:
    """Groups that the distilled model retrieves no better than chance, or less well than before binding."""
    ours, before = (systems.get(n, {}).get("cross_modal", {}).get(KINDS[0], {}) for n in (DISTILLED, UNBOUND))
    lines = []
    for group, figures in ours["by_group"].items():
        own, there = figures["above chance"], before.get("by_group", {}).get(group)
        said = [] if own["over_chance_low"] > 0 else ["not clear of chance"]
        if there is not None and own["value"] < there["above chance"]["value"]:
            said.append(f"binding lowered it, unbound towers {with_interval(there['above chance'])}")
        if said:
            lines.append(
                f"- Across modalities, {group}, above chance: {with_interval(own)}, {'; '.join(said)}."
            )
    return lines


def section(told: Told) -> list[str]:
    """Everything that was asked for and is not there."""
    rows = told["targets"]
    measured = [row for row in rows if row["measured"] is not None]
    own, other = ([row for row in measured if bool(row["source"]) == apart] for apart in (False, True))
    lines = [f"- {_met(own)} of {len(own)} targets that were measured of this checkpoint are met."]
    if other:
        lines.append(
            f"- Counted apart, of towers of the same settings that are not this checkpoint: {_met(other)} of"
            f" {len(other)} met."
        )
    lines += [_target(row) for row in measured if not row["met"]]
    lines += [f"- {r['task']}: not measured." for r in rows if r["measured"] is None]
    lines += _claims(told["claims"])
    lines += [*_texts_at_chance(told["systems"]), *_groups_at_chance(told["systems"])]
    lines += [f"- Calibration: {' '.join(calibration(told['calibration'])).strip()}"]
    return [
        "## What is not met, and why",
        "",
        *lines,
        "",
        *limits.section(told.get("limits")),
    ]
