"""evaluation.json as a page for people. Pure: figures in, text out. What few read stands in `details.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import ablation_page, misses, targets_page, words
from m3bind.evaluate.cross_modal import GALLERIES, KINDS, REPEATS
from m3bind.evaluate.details import DETAILS, gained
from m3bind.evaluate.few_shot import DRAWS
from m3bind.evaluate.reliability import TARGET
from m3bind.evaluate.report import RETRIEVAL_REPEATS
from m3bind.evaluate.retrieval import RANKS
from m3bind.evaluate.space import alike
from m3bind.evaluate.spelling import respelled
from m3bind.evaluate.systems import DISTILLED, TITLES, UNBOUND
from m3bind.evaluate.tables import across_cells, number, table, with_chance, with_interval, yes_no
from m3bind.evaluate.words import prose

PICTURES = "evaluation"
"""Folder of the plots and of the tables behind the page, beside it."""
CARD = "../dicom_node/assets/{name}/MODEL_CARD.md"
"""The card of the bundle that ships, from `docs`."""
SHOWN_SHOTS = (1, 4, 16)

Told = Mapping[str, Any]


def _head(told: Told) -> list[str]:
    recipe = told["recipe"]
    fewest = min(told["counts"], key=lambda m: told["counts"][m]["groups"])
    rows = [
        [m, str(c["val"]), str(c["groups"]), str(c["calib"]), str(c["support"])]
        for m, c in told["counts"].items()
    ]
    return [
        f"# Evaluation of {recipe['name']} {recipe['version']}",
        "",
        *prose(
            words.HEAD,
            command=respelled(told["command"]),
            commit=told["commit"],
            measured_by=told["measured_by"],
            measured=told["measured"],
            processor=told["seconds"]["processor"] / 60,
            details=f"{PICTURES}/{DETAILS}",
            bootstrap=told["bootstrap"],
            fewer=min(told["bootstrap"], REPEATS),
            texts=min(told["bootstrap"], RETRIEVAL_REPEATS),
            fewest=fewest,
            groups=told["counts"][fewest]["groups"],
            positives=told["min_positives"],
        ),
        *table(["modality", "val", "groups of val", "calib", "pool of shots"], rows),
    ]


def _claims(told: Told) -> list[str]:
    claims = told["claims"]
    if not claims:
        return []
    kept = [
        [
            m,
            with_interval(told["systems"][DISTILLED]["zero_shot"][m]["macro"]),
            with_interval(told["systems"][UNBOUND]["zero_shot"][m]["macro"]),
            with_interval(c),
            "yes, with a loss" if c["kept"] and c["high"] < 0 else yes_no(c["kept"]),
        ]
        for m, c in claims["zero_shot_kept"].items()
        if c is not None
    ]
    return [
        "## What binding is to show",
        "",
        *prose(words.KEPT),
        *table(["modality", "M3Bind", "unbound towers", "difference, paired", "kept"], kept),
        *prose(words.GAINED, details=f"{PICTURES}/{DETAILS}"),
        *gained(claims["cross_modal"], KINDS[0]),
    ]


def _zero_shot(told: Told) -> list[str]:
    systems, probe = told["systems"], told["probe"]["supervised"]
    macro, by_dataset = [], []
    for modality, own in systems[DISTILLED]["zero_shot"].items():
        supervised = probe.get(modality)
        macro.append(
            [
                f"{modality} ({own['macro']['findings']})",
                *(with_interval(s["zero_shot"][modality]["macro"]) for s in systems.values()),
                with_interval(supervised and supervised["macro"]),
            ]
        )
        by_dataset += [
            [modality, name, str(m["findings"]), with_interval(m)]
            for name, m in own["by_dataset"].items()
            if m["findings"]
        ]
    head = ["modality (findings)", *(TITLES[n] for n in systems), "supervised probe"]
    return [
        "## Zero-shot",
        "",
        *prose(words.ZERO_SHOT),
        *table(head, macro),
        *prose(words.BY_DATASET, positives=told["min_positives"]),
        *table(["modality", "data set", "findings", "macro AUC"], by_dataset),
        f"Every finding, by data set too: [DETAILS.md]({PICTURES}/{DETAILS}).",
        "",
    ]


def _few_shot(told: Told) -> list[str]:
    rows = []
    names = [n for n in (DISTILLED, UNBOUND) if n in told["systems"]]
    of = [(TITLES[n], told["systems"][n]["few_shot"], "Tip-Adapter-F") for n in names]
    of.append(("frozen start weights", told["probe"]["few_shot"], "linear probe"))
    for modality in told["counts"]:
        for title, figures, method in of:
            own = figures.get(modality, {}).get(method, {})
            if own:
                cells = [with_interval(own.get(str(k))) for k in SHOWN_SHOTS]
                rows.append([modality, title, method, *cells])
    return [
        "## Few-shot",
        "",
        *prose(words.FEW_SHOT, draws=DRAWS),
        f"![Few-shot curves]({PICTURES}/few-shot.png)",
        "",
        *table(["modality", "system", "method", *(f"k = {k}" for k in SHOWN_SHOTS)], rows),
    ]


def _image_text(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        for name in (DISTILLED, UNBOUND):
            ways = told["systems"].get(name, {}).get("image_text", {}).get(modality, {})
            for way, own in ways.items():
                if "R@1" in own:
                    cells = [with_chance(own[f"R@{k}"]) for k in RANKS]
                    rows.append([modality, way.replace("_", " "), TITLES[name], str(own["queries"]), *cells])
    return [
        "## Between images and captions",
        "",
        *prose(words.IMAGE_TEXT),
        f"![Retrieval]({PICTURES}/retrieval.png)",
        "",
        *table(["modality", "way", "system", "queries", *(f"R@{k}" for k in RANKS)], rows),
    ]


def _cross_modal(told: Told) -> list[str]:
    rows, groups = [], []
    for name, system in told["systems"].items():
        own = system["cross_modal"][KINDS[0]]
        for gallery, key in zip(("each other modality", "all others together"), GALLERIES, strict=True):
            if (m := own[key]) is not None:
                rows.append([gallery, TITLES[name], *across_cells(m)])
        if name in (DISTILLED, UNBOUND):
            groups += [[group, TITLES[name], *across_cells(m)] for group, m in own["by_group"].items()]
    head = ["mAP", "above chance", "R@10"]
    return [
        "## Across modalities",
        "",
        *prose(words.ACROSS, shared=told["shared_sentences"]),
        *table(["gallery", "system", *head], sorted(rows, key=lambda row: row[0])),
        "By group (each other modality):",
        "",
        *table(["group", "system", *head], sorted(groups, key=lambda row: row[0])),
        f"![The shared space]({PICTURES}/space.png)",
        "",
        *_space(told),
    ]


def _space(told: Told) -> list[str]:
    there = [n for n in (UNBOUND, DISTILLED) if told["space"].get(n)]
    shares = [f"{number(alike(told['space'][n]))} of {TITLES[n]}" for n in there]
    return prose(words.SPACE, shares=" and ".join(shares)) if shares else []


def _calibration(told: Told) -> list[str]:
    return [
        "## Calibration and thresholds",
        "",
        *prose(words.CALIBRATION, target=number(TARGET)),
        *misses.calibration(told["calibration"]),
        *prose(words.OPERATING, card=CARD.format(name=told["recipe"]["name"])),
        f"![Calibration]({PICTURES}/calibration.png)",
        "",
        f"Every finding, and thresholds with the sensitivity they keep: [DETAILS.md]({PICTURES}/{DETAILS}).",
        "",
    ]


def page(told: Told, ablation: Told | None) -> str:
    """The whole report: what was asked for and what is missed first, then what the figures are made of."""
    lines = [*_head(told), *targets_page.section(told["targets"]), *misses.section(told)]
    for part in (_claims, _zero_shot, _few_shot, _image_text, _cross_modal, _calibration):
        lines += part(told)
    lines += ablation_page.section(ablation, f"{PICTURES}/ablation.png")
    return "\n".join(lines).rstrip() + "\n"


def summary(told: Told) -> list[str]:
    """A few lines for the terminal."""
    names = list(told["systems"])
    lines = ["macro AUC".ljust(28) + "".join(n.rjust(26) for n in names)]
    for modality in told["counts"]:
        cells = [with_interval(told["systems"][n]["zero_shot"][modality]["macro"]).rjust(26) for n in names]
        lines.append(modality.ljust(28) + "".join(cells))
    across = [told["systems"][n]["cross_modal"][KINDS[0]][GALLERIES[0]] for n in names]
    for measure in ("mAP", "above chance", "R@10"):
        cells = [with_interval(a and a[measure]).rjust(26) for a in across]
        lines.append(f"across modalities, {measure}".ljust(28) + "".join(cells))
    return [*lines, *targets_page.summary(told["targets"])]
