"""The tables behind the page: every finding, every system, every pair. Pure: figures in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import words
from m3bind.evaluate.cross_modal import GALLERIES, KINDS
from m3bind.evaluate.few_shot import METHODS, SHOTS
from m3bind.evaluate.reliability import SENSITIVITY
from m3bind.evaluate.retrieval import RANKS
from m3bind.evaluate.systems import DISTILLED, TITLES, UNBOUND
from m3bind.evaluate.tables import across_cells, number, table, with_chance, with_interval, yes_no
from m3bind.evaluate.words import prose

DETAILS = "DETAILS.md"
"""Name of the file, in the folder of the plots."""

Told = Mapping[str, Any]


def _findings(told: Told) -> list[str]:
    systems, probe = told["systems"], told["probe"]["supervised"]
    rows = []
    for modality, own in systems[DISTILLED]["zero_shot"].items():
        unbound = systems[UNBOUND]["zero_shot"][modality]["findings"] if UNBOUND in systems else {}
        supervised = probe.get(modality, {}).get("findings", {})
        for i, f in own["findings"].items():
            count = f"{f['positives']}/{f['n']}"
            cells = [with_interval(unbound.get(i)), with_interval(supervised.get(i))]
            rows.append([i, "all", count, with_interval(f), *cells, with_interval(f["balanced_accuracy"])])
            if len(f["by_dataset"]) > 1:
                rows += [
                    ["", name, f"{d['positives']}/{d['n']}", with_interval(d), "", "", ""]
                    for name, d in f["by_dataset"].items()
                ]
    head = ["finding", "data set", "positives/n", "AUC", "unbound", "supervised probe", "balanced accuracy"]
    return ["## Zero-shot by finding", "", *table(head, rows)]


def _accuracy(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        own = [s["zero_shot"][modality].get("accuracy") for s in told["systems"].values()]
        cells = [
            "-" if a is None else f"{number(a['accuracy'])}, {number(a['balanced_accuracy'])}" for a in own
        ]
        rows.append([modality, *cells])
    return [
        "## Accuracy",
        "",
        *prose(words.ACCURACY),
        *table(["modality", *(TITLES[n] for n in told["systems"])], rows),
    ]


def _few_shot(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        of = [
            (TITLES[name], method, system.get("few_shot", {}).get(modality, {}).get(method, {}))
            for name, system in told["systems"].items()
            for method in METHODS
        ]
        start = told["probe"]["few_shot"].get(modality, {}).get("linear probe", {})
        for title, method, own in [*of, ("frozen start weights", "linear probe", start)]:
            if own:
                cells = [with_interval(own.get(str(k))) for k in SHOTS]
                spread = number(own[str(SHOTS[-1])].get("sd_of_draws"))
                rows.append([modality, title, method, *cells, spread])
    head = ["modality", "system", "method", *(f"k = {k}" for k in SHOTS), f"SD of draws, k = {SHOTS[-1]}"]
    return ["## Few-shot", "", *table(head, rows)]


def _image_text(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        for name, system in told["systems"].items():
            for way, own in system["image_text"][modality].items():
                if "R@1" in own:
                    cells = [with_chance(own[f"R@{k}"]) for k in RANKS]
                    rows.append([modality, way.replace("_", " "), TITLES[name], str(own["queries"]), *cells])
    head = ["modality", "way", "system", "queries", *(f"R@{k}" for k in RANKS)]
    return ["## Between images and captions", "", *table(head, rows)]


def gained(claims: Told, kind: str) -> list[str]:
    """The table of the second claim, of one kind of embeddings."""
    rows = [
        [
            gallery,
            measure,
            number(c["ours"]),
            number(c["unbound"]),
            number(c["chance"]),
            with_interval(c["gain"]),
            "-" if c["ratio"] is None else f"{c['ratio']:.2f}",
            "-" if c["most_possible_ratio"] is None else f"{c['most_possible_ratio']:.2f}",
            yes_no(c["twice"]),
            yes_no(c["clear_of_chance"]),
        ]
        for gallery, measures in claims.items()
        if gallery.startswith(f"{kind},")
        for measure, c in measures.items()
    ]
    head = ["gallery", "measure", "M3Bind", "unbound", "chance", "gain", "ratio", "most possible"]
    return table([*head, "twice", "clear of chance"], rows)


def _across(told: Told) -> list[str]:
    means, pairs = [], []
    for kind in KINDS:
        for name, system in told["systems"].items():
            own = system["cross_modal"][kind]
            for gallery, key in zip(("each other modality", "all others together"), GALLERIES, strict=True):
                if (m := own[key]) is not None:
                    means.append([kind, gallery, TITLES[name], *across_cells(m)])
    for pair in told["systems"][DISTILLED]["cross_modal"][KINDS[0]]["pairs"]:
        count = f"{pair['queries']} in {pair['gallery']} ({pair['relevant']})"
        pairs.append([f"{pair['from']} to {pair['to']}", pair["group"], count, *across_cells(pair)])
    head = ["mAP", "above chance", "R@10"]
    return [
        "## Across modalities",
        "",
        *table(["embeddings", "gallery", "system", *head], means),
        *(gained(told["claims"]["cross_modal"], KINDS[1]) if told["claims"] else []),
        "By pair (centred, M3Bind; queries in gallery, of which relevant):",
        "",
        *table(["from, to", "group", "queries", *head], pairs),
    ]


def _calibration(told: Told) -> list[str]:
    errors, thresholds = [], []
    for own in told["calibration"].values():
        for i, f in own["findings"].items():
            e, cut = f["expected_calibration_error"], f["threshold"]
            count = f"{f['positives']}/{f['n']}"
            by_chance = f"{number(e['perfect'])}, at most {number(e['perfect_high'])}"
            errors.append([i, count, with_interval(e), by_chance])
            if cut is None:
                thresholds.append([i, count, "the margin does not rise on `calib`", "-", "-", "-"])
                continue
            cells = [with_interval(cut[name]) for name in ("probability", "sensitivity", "specificity")]
            thresholds.append([i, count, str(cut["positives_in_calib"]), *cells])
    head = ["finding", "positives/n", "positives of calib", "threshold", "sensitivity", "specificity"]
    return [
        "## Calibration",
        "",
        *table(["finding", "positives/n", "expected calibration error", "by chance"], errors),
        "## Thresholds",
        "",
        *prose(words.THRESHOLDS, aimed=number(SENSITIVITY)),
        *table(head, thresholds),
    ]


def _unmeasured(limits: Told | None) -> list[str]:
    few = [f"{i} ({n})" for own in (limits or {}).get("without_figure", {}).values() for i, n in own.items()]
    return [
        "## Findings without a figure",
        "",
        "`val` holds too few of them, or none without (positives): " + (", ".join(few) or "none") + ".",
        "",
    ]


def details(told: Told) -> str:
    """The whole file."""
    recipe = told["recipe"]
    lines = [f"# {recipe['name']} {recipe['version']}: the tables", "", *prose(words.DETAILS)]
    for part in (_findings, _accuracy, _calibration, _few_shot, _image_text, _across):
        lines += part(told)
    return "\n".join([*lines, *_unmeasured(told.get("limits"))]).rstrip() + "\n"
