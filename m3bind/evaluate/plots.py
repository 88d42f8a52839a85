"""evaluation.json as plots (PNG). Figures in, files out; no window is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from m3bind.evaluate.few_shot import SHOTS
from m3bind.evaluate.systems import BOUND, DISTILLED, NOISE, RANDOM, TITLES, UNBOUND

Told = Mapping[str, Any]

INK: Mapping[str, str] = {
    DISTILLED: "#0b5394",
    BOUND: "#5b9bd5",
    UNBOUND: "#e07b00",
    RANDOM: "#999999",
    NOISE: "#cfcfcf",
}
"""Colours that also differ in brightness."""
START = "#38761d"
MARKERS = ("o", "s", "^", "D", "P", "X", "v", "*")
HUES = ("#0b5394", "#c00000", "#e07b00", "#38761d", "#7030a0", "#00a0a0")
DPI = 110
UNBOUND_ACROSS = "unbound: across modalities, above chance"


def _figure(columns: int, rows: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def _spread(axis: Axes, x: list[float], figures: list[Told], colour: str, **style: Any) -> None:
    values = [f["value"] for f in figures]
    axis.plot(x, values, color=colour, **style)
    axis.fill_between(x, [f["low"] for f in figures], [f["high"] for f in figures], color=colour, alpha=0.08)


def without_shots(system: Told, modality: str) -> float | None:
    """Mean zero-shot AUC of the findings that the few-shot figures are of."""
    own = system["few_shot"][modality]["linear probe"]
    if not own:
        return None
    findings = system["zero_shot"][modality]["findings"]
    values: list[float] = [findings[i]["value"] for i in own[str(SHOTS[0])]["findings"]]
    return sum(values) / len(values)


def few_shot(told: Told) -> Figure:
    """A panel per modality: macro AUC by shots."""
    modalities = list(told["counts"])
    columns = min(3, len(modalities) + 1)
    rows = -(-(len(modalities) + 1) // columns)
    figure, axes = _figure(columns, rows, 4.4 * columns, 3.5 * rows)
    styles = (("linear probe", ":", "o"), ("Tip-Adapter", "--", "s"), ("Tip-Adapter-F", "-", "^"))
    for modality, axis in zip(modalities, axes, strict=False):
        for name in (DISTILLED, UNBOUND):
            if name not in told["systems"]:
                continue
            system = told["systems"][name]
            for method, line, marker in styles:
                own = system["few_shot"][modality][method]
                if own:
                    figures = [own[str(k)] for k in SHOTS]
                    _spread(
                        axis,
                        list(SHOTS),
                        figures,
                        INK[name],
                        linestyle=line,
                        marker=marker,
                        markersize=4,
                        label=f"{TITLES[name]}: {method}",
                    )
            zero = without_shots(system, modality)
            if zero is not None:
                axis.axhline(
                    zero, color=INK[name], linewidth=0.8, alpha=0.7, label=f"{TITLES[name]}: zero-shot"
                )
        own = told["probe"]["few_shot"].get(modality, {}).get("linear probe")
        if own:
            _spread(
                axis,
                list(SHOTS),
                [own[str(k)] for k in SHOTS],
                START,
                linestyle=":",
                marker="o",
                markersize=4,
                label="frozen start weights: linear probe",
            )
        axis.set_xscale("log", base=2)
        axis.set_xticks(SHOTS, [str(k) for k in SHOTS])
        axis.set_title(modality)
        axis.set_xlabel("examples with, and without, a finding")
        axis.set_ylabel("macro AUC on val")
        axis.grid(alpha=0.25)
    handles, labels = axes[0].get_legend_handles_labels()
    for spare in axes[len(modalities) :]:
        spare.axis("off")
    axes[len(modalities)].legend(handles, labels, fontsize=8, loc="center", frameon=False)
    return figure


def retrieval(told: Told) -> Figure:
    """Images to captions by modality, and across modalities by group: bars, intervals, chance as a line."""
    figure, (left, right) = _figure(2, 1, 13.5, 4.4)
    modalities = [
        m for m in told["counts"] if "R@1" in told["systems"][DISTILLED]["image_text"][m]["image_to_text"]
    ]
    _bars(
        left,
        told,
        modalities,
        lambda s, m: s["image_text"][m].get("image_to_text", {}).get("R@1"),
    )
    left.set_title("Image to captions, R@1")
    groups = list(told["systems"][DISTILLED]["cross_modal"]["centred"]["by_group"])
    _bars(right, told, ["all", *groups], _across)
    right.set_title("Image to images of another modality, mAP (centred)")
    handles, labels = right.get_legend_handles_labels()  # the left one lacks what embeds no captions
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    return figure


def _across(system: Told, group: str) -> Told | None:
    own = system["cross_modal"]["centred"]
    figures = own["mean"] if group == "all" else own["by_group"].get(group)
    return figures["mAP"] if figures else None


def _bars(axis: Axes, told: Told, places: list[str], figure_of: Callable[[Told, str], Told | None]) -> None:
    names = list(told["systems"])
    width = 0.8 / len(names)
    for i, name in enumerate(names):
        found = [
            (x, f) for x, p in enumerate(places) if (f := figure_of(told["systems"][name], p)) is not None
        ]
        axis.bar(
            [x + (i - (len(names) - 1) / 2) * width for x, _ in found],
            [f["value"] for _, f in found],
            width,
            color=INK[name],
            label=TITLES[name],
            yerr=[
                [max(0.0, f["value"] - f["low"]) for _, f in found],
                [max(0.0, f["high"] - f["value"]) for _, f in found],
            ],
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
        )
    labelled = False
    for x, place in enumerate(places):
        own = figure_of(told["systems"][DISTILLED], place)
        if own is not None:
            axis.plot(
                [x - 0.45, x + 0.45],
                [own["chance"]] * 2,
                color="#c00000",
                linewidth=1.6,
                label=None if labelled else "chance",
            )
            labelled = True
    axis.set_xticks(range(len(places)), places)
    axis.set_ylim(0, 1)
    axis.grid(axis="y", alpha=0.25)


def calibration(told: Told) -> Figure:
    """Share of positives against mean probability, one curve per modality; and the error of each finding."""
    figure, (left, right) = _figure(2, 1, 12.5, 4.6)
    left.plot([0, 1], [0, 1], color="#999999", linewidth=1, label="perfect")
    errors, colours = [], []
    for colour, marker, (modality, own) in zip(HUES, MARKERS, told["calibration"].items(), strict=False):
        if own["curve"]:
            said, true, _ = zip(*own["curve"], strict=True)
            left.plot(said, true, marker=marker, color=colour, label=modality)
        for i, f in own["findings"].items():
            errors.append((f["expected_calibration_error"], i))
            colours.append(colour)
    left.set_xlabel("probability said (Platt, fitted on calib)")
    left.set_ylabel("share that has the finding, val")
    left.set_title("Reliability, all findings of a modality")
    left.legend()
    left.grid(alpha=0.25)
    y = range(len(errors))
    right.barh(y, [e["value"] for e, _ in errors], color=colours)
    right.plot(
        [e["perfect_high"] for e, _ in errors],
        y,
        "|",
        color="black",
        markersize=6,
        label="perfect probabilities, at most in 97.5 of 100 cases",
    )
    right.axvline(0.05, color="#c00000", linewidth=1, label="target, .05")
    right.set_yticks(y, [i for _, i in errors], fontsize=max(4, min(8, 260 // max(1, len(errors)))))
    right.invert_yaxis()
    right.set_xlabel("expected calibration error on val")
    right.legend(fontsize=8)
    figure.set_size_inches(12.5, max(4.6, 0.19 * len(errors)))
    return figure


def space(told: Told) -> Figure:
    """The shared space on a plane, before binding and after: form is modality, colour is group."""
    names = [n for n in (UNBOUND, DISTILLED) if n in told["space"]]
    figure, axes = _figure(len(names), 1, 6.4 * len(names), 5.6)
    groups = sorted({p["group"] for n in names for p in told["space"][n]} - {"other", "normal"})
    hue = {
        "other": "#dddddd",
        "normal": HUES[3],
        **dict(zip(groups, (HUES[1], *HUES[2:3], *HUES[4:], HUES[0]), strict=False)),
    }
    form = dict(zip(told["counts"], MARKERS, strict=False))
    for axis, name in zip(axes, names, strict=True):
        for modality, marker in form.items():
            for group in ("other", "normal", *groups):
                points = [p for p in told["space"][name] if (p["modality"], p["group"]) == (modality, group)]
                axis.scatter(
                    [p["x"] for p in points],
                    [p["y"] for p in points],
                    s=14,
                    marker=marker,
                    color=hue[group],
                    linewidths=0,
                )
        axis.set_title(f"{TITLES[name]}")
        axis.set_xticks([])
        axis.set_yticks([])
    for modality, marker in form.items():
        axes[0].scatter([], [], marker=marker, color="#555555", label=modality)
    for group in ("normal", *groups, "other"):
        axes[0].scatter([], [], marker="s", color=hue[group], label=group)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle("t-SNE of val images, embeddings centred by modality")
    return figure


def _mean_zero_shot(own: Told) -> float:
    values = [z["value"] for z in own["zero_shot"].values() if z["value"] is not None]
    return float(sum(values) / max(1, len(values)))


def ablation(told: Told) -> Figure:
    """A panel per thing that was varied: zero-shot and retrieval across modalities by its value."""
    kinds = list(dict.fromkeys(run["what"] for run in told["runs"]))
    figure, axes = _figure(len(kinds), 1, 4.6 * len(kinds), 3.8)
    for axis, kind in zip(axes, kinds, strict=True):
        runs = [run for run in told["runs"] if run["what"] == kind]
        x = list(range(len(runs)))
        for name, line in (("bound", "--"), ("distilled", "-")):
            own = [run[name] for run in runs]
            axis.plot(
                x,
                [_mean_zero_shot(o) for o in own],
                line,
                color=INK[DISTILLED],
                marker="o",
                label=f"{name}: macro zero-shot AUC",
            )
            if all(o["cross_modal"] for o in own):
                _spread(
                    axis,
                    [float(i) for i in x],
                    [o["cross_modal"]["above chance"] for o in own],
                    INK[UNBOUND],
                    linestyle=line,
                    marker="s",
                    label=f"{name}: across modalities, above chance",
                )
        axis.axhline(
            _mean_zero_shot(told["unbound"]),
            color=INK[DISTILLED],
            linewidth=0.8,
            linestyle=":",
            label="unbound: macro zero-shot AUC",
        )
        if told["unbound"]["cross_modal"]:
            apart = told["unbound"]["cross_modal"]["above chance"]["value"]
            axis.axhline(apart, color=INK[UNBOUND], linewidth=0.8, linestyle=":", label=UNBOUND_ACROSS)
        axis.set_xticks(
            x, [run["value"].replace(", ", "\n") + ("*" if run["recipe"] else "") for run in runs]
        )
        axis.set_xlabel(f"{kind} (* the recipe's)")
        axis.axhline(0, color="#999999", linewidth=0.8)
        axis.grid(alpha=0.25)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def draw(told: Told, folded: Told | None, folder: Path) -> list[Path]:
    """All plots into `folder`; which files were written."""
    made = {"few-shot": few_shot(told), "retrieval": retrieval(told), "calibration": calibration(told)}
    if told["space"]:
        made["space"] = space(told)
    if folded is not None:
        made["ablation"] = ablation(folded)
    for name, figure in made.items():
        save(figure, folder / f"{name}.png")
    return [folder / f"{name}.png" for name in made]


def save(figure: Figure, path: Path) -> None:
    """As PNG, with no version of a program inside: the same figures make the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
