"""evaluation.json as a page for people. Pure: figures in, text out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3bind.evaluate import limits, targets_page, words
from m3bind.evaluate.few_shot import DRAWS, METHODS, MOST_REPEATS, SHOTS
from m3bind.evaluate.retrieval import RANKS
from m3bind.evaluate.systems import DISTILLED, TITLES, UNBOUND
from m3bind.evaluate.tables import number, table, with_interval
from m3bind.evaluate.words import prose

PICTURES = "evaluation"
"""Folder of the plots, beside the page."""

Told = Mapping[str, Any]


def _head(told: Told) -> list[str]:
    recipe, seconds = told["recipe"], told["seconds"]
    counts = "; ".join(f"{m}: {c['val']} examples of {c['groups']} groups" for m, c in told["counts"].items())
    return [
        f"# Evaluation of {recipe['name']} {recipe['version']}",
        "",
        *prose(
            words.HEAD,
            command=told["command"],
            commit=told["commit"],
            measured_by=told["measured_by"],
            measured=told["measured"],
            processor=seconds["processor"] / 60,
            wall=seconds["wall"] / 60,
            bootstrap=told["bootstrap"],
            fewer=min(told["bootstrap"], MOST_REPEATS),
            positives=told["min_positives"],
            counts=counts,
        ),
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
            "yes" if c["kept"] else "**no**",
        ]
        for m, c in claims["zero_shot_kept"].items()
        if c is not None
    ]
    gained = [
        [
            kind,
            measure,
            number(c["ours"]),
            number(c["unbound"]),
            number(c["chance"]),
            "-" if c["ratio"] is None else f"{c['ratio']:.2f}",
            "-" if c["most_possible_ratio"] is None else f"{c['most_possible_ratio']:.2f}",
            "yes" if c["twice"] else "no",
            "yes" if c["clear_of_chance"] else "no",
        ]
        for kind, measures in claims["cross_modal"].items()
        for measure, c in measures.items()
    ]
    return [
        "## What binding is to show",
        "",
        *prose(words.KEPT),
        *table(["modality", "distilled", "unbound tower", "difference, paired", "kept"], kept),
        *prose(words.GAINED),
        *table(
            [
                "gallery",
                "measure",
                "bound, distilled",
                "unbound",
                "chance",
                "ratio",
                "most possible",
                "twice",
                "clear of chance",
            ],
            gained,
        ),
    ]


def _zero_shot(told: Told) -> list[str]:
    systems, probe = told["systems"], told["probe"]["supervised"]
    names = list(systems)
    macro, accuracy, findings = [], [], []
    for modality, own in systems[DISTILLED]["zero_shot"].items():
        of = [systems[n]["zero_shot"][modality] for n in names]
        supervised = probe.get(modality)
        count = own["macro"]["findings"]
        macro.append(
            [
                f"{modality}, {count} findings",
                *(with_interval(s["macro"]) for s in of),
                with_interval(supervised and supervised["macro"]),
            ]
        )
        accuracy.append(
            [modality]
            + [
                f"{number(s['accuracy']['accuracy'])}, {number(s['accuracy']['balanced_accuracy'])}"
                for s in of
                if "accuracy" in s
            ]
        )
        for i, f in own["findings"].items():
            by = "; ".join(
                f"{d} {number(v['auc'])} ({v['positives']}/{v['n']})" for d, v in f["by_dataset"].items()
            )
            findings.append(
                [
                    i,
                    f"{f['positives']}/{f['n']}",
                    with_interval(f),
                    with_interval(systems[UNBOUND]["zero_shot"][modality]["findings"].get(i))
                    if UNBOUND in systems
                    else "-",
                    with_interval(supervised["findings"].get(i)) if supervised else "-",
                    with_interval(f["balanced_accuracy"]),
                    by,
                ]
            )
    titles = [TITLES[n] for n in names]
    return [
        "## Zero-shot",
        "",
        *prose(words.ZERO_SHOT),
        *table(["modality", *titles, "supervised probe"], macro),
        *prose(words.ACCURACY),
        *table(["modality", *titles], accuracy),
        "By finding, distilled model:",
        "",
        *table(
            [
                "finding",
                "positives/n",
                "AUC",
                "unbound",
                "supervised probe",
                "balanced accuracy",
                "by data set",
            ],
            findings,
        ),
        *prose(words.PROBE),
    ]


def _few_shot(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        for name, system in told["systems"].items():
            for method in METHODS:
                own = system["few_shot"][modality][method]
                if own:
                    rows.append(
                        [modality, TITLES[name], method, *(with_interval(own.get(str(k))) for k in SHOTS)]
                    )
        own = told["probe"]["few_shot"].get(modality, {}).get("linear probe", {})
        if own:
            rows.append(
                [
                    modality,
                    "frozen start weights",
                    "linear probe",
                    *(with_interval(own.get(str(k))) for k in SHOTS),
                ]
            )
    return [
        "## Few-shot",
        "",
        *prose(words.FEW_SHOT, draws=DRAWS),
        f"![Few-shot curves]({PICTURES}/few-shot.png)",
        "",
        *table(["modality", "system", "method", *(f"k = {k}" for k in SHOTS)], rows),
    ]


def _image_text(told: Told) -> list[str]:
    rows = []
    for modality in told["counts"]:
        for name, system in told["systems"].items():
            for way, own in system["image_text"][modality].items():
                if "R@1" in own:
                    cells = [
                        f"{with_interval(own[f'R@{k}'])}, chance {number(own[f'R@{k}']['chance'])}"
                        for k in RANKS
                    ]
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
    rows, pairs = [], []
    for kind in ("centred", "uncentred"):
        for name, system in told["systems"].items():
            own = system["cross_modal"][kind]
            for gallery, key in (("each other modality", "mean"), ("all others together", "mean_all_others")):
                if (m := own[key]) is not None:
                    rows.append([kind, gallery, TITLES[name], *_measures(m)])
    groups = []
    for name, system in told["systems"].items():
        for group, m in system["cross_modal"]["centred"]["by_group"].items():
            groups.append([group, TITLES[name], *_measures(m)])
    for pair in told["systems"][DISTILLED]["cross_modal"]["centred"]["pairs"]:
        pairs.append(
            [
                f"{pair['from']} to {pair['to']}",
                pair["group"],
                f"{pair['queries']} in {pair['gallery']} ({pair['relevant']})",
                *_measures(pair),
            ]
        )
    head = ["mAP", "above chance", "R@10"]
    return [
        "## Across modalities",
        "",
        *prose(words.ACROSS),
        *table(["embeddings", "gallery", "system", *head], rows),
        "By group (centred, each other modality):",
        "",
        *table(["group", "system", *head], groups),
        "By pair (centred, distilled; queries in gallery, of which relevant):",
        "",
        *table(["from, to", "group", "queries", *head], pairs),
        f"![The shared space]({PICTURES}/space.png)",
        "",
    ]


def _measures(m: Told) -> list[str]:
    return [
        f"{with_interval(m['mAP'])}, chance {number(m['mAP']['chance'])}",
        with_interval(m["above chance"]),
        f"{with_interval(m['R@10'])}, chance {number(m['R@10']['chance'])}",
    ]


def _calibration(told: Told) -> list[str]:
    rows = []
    for own in told["calibration"].values():
        for i, f in own["findings"].items():
            e = f["expected_calibration_error"]
            rows.append([i, f"{f['positives']}/{f['n']}", with_interval(e), number(e["perfect"])])
    return [
        "## Calibration",
        "",
        *prose(words.CALIBRATION),
        f"![Calibration]({PICTURES}/calibration.png)",
        "",
        *table(["finding", "positives/n", "expected calibration error", "perfect"], rows),
    ]


def ablation_section(ablation: Told | None) -> list[str]:
    """The table of `m3bind ablate`."""
    if not ablation:
        return []
    modalities = list(ablation["runs"][0]["distilled"]["zero_shot"])
    rows = []
    for run in ablation["runs"]:
        for name in ("bound", "distilled"):
            own = run[name]
            if own is not None:
                rows.append(
                    [
                        run["what"],
                        run["value"] + (" (recipe)" if run["recipe"] else ""),
                        name,
                        *(with_interval(own["zero_shot"][m]) for m in modalities),
                        with_interval(own["cross_modal"]["above chance"]),
                        with_interval(own["cross_modal"]["R@10"]),
                        f"{own['text_megabytes']:.0f}",
                        f"{run['seconds']:.0f}",
                    ]
                )
    steps = ablation["steps"]
    return [
        "## Ablations",
        "",
        *prose(words.ABLATION, command=ablation["command"], bind=steps["bind"], distil=steps["distil"]),
        f"![Ablations]({PICTURES}/ablation.png)",
        "",
        *table(
            [
                "what",
                "value",
                "system",
                *modalities,
                "across, above chance",
                "across, R@10",
                "text MB",
                "seconds",
            ],
            rows,
        ),
    ]


def page(told: Told, ablation: Told | None) -> str:
    """The whole report."""
    parts = (_claims, _zero_shot, _few_shot, _image_text, _cross_modal, _calibration)
    lines = [*_head(told), *targets_page.section(told["targets"]), *limits.section(told.get("limits"))]
    lines += [line for part in parts for line in part(told)]
    return "\n".join([*lines, *ablation_section(ablation)]).rstrip() + "\n"


def summary(told: Told) -> list[str]:
    """A few lines for the terminal."""
    names = list(told["systems"])
    lines = ["macro AUC".ljust(28) + "".join(n.rjust(26) for n in names)]
    for modality in told["counts"]:
        cells = [with_interval(told["systems"][n]["zero_shot"][modality]["macro"]).rjust(26) for n in names]
        lines.append(modality.ljust(28) + "".join(cells))
    across = [told["systems"][n]["cross_modal"]["centred"]["mean"] for n in names]
    for measure in ("mAP", "above chance", "R@10"):
        cells = [with_interval(a and a[measure]).rjust(26) for a in across]
        lines.append(f"across modalities, {measure}".ljust(28) + "".join(cells))
    return [*lines, *targets_page.summary(told["targets"])]
