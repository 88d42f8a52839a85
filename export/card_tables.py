"""The tables of the model card, each from the figures that it shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from dicom_node.bundle.catalogue import FindingEntry
from export.calibrate import Calibrated
from export.dicom import SliceFigures
from export.measure import FindingFigures, ScopeFigures, SilentFigures
from export.parity import Parity
from export.said import Rate
from export.scope import rule_of
from m3bind.data.catalogue import illnesses_of
from m3bind.metrics import Estimate

SINGLE: Mapping[str, str] = {
    "radiograph": "films",
    "ct": "slices",
    "retina": "photographs",
    "ecg": "records",
    "slide": "tiles",
}
"""What one example is, by reader."""
TOGETHER: Mapping[str, str] = {"ct": "series, put together", "slide": "slides, put together"}
"""What a view is where it is many samples."""


Row = tuple[FindingEntry, FindingFigures, Calibrated]
"""One finding of the catalogue."""


def findings_table(rows: Sequence[Row], readers: Mapping[str, str]) -> str:
    """What is on; `readers` by modality."""
    lines = [
        "| finding | code | of | n | positive | AUC (95 % CI) | AUC among the ill (95 % CI) |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(f"{_finding(entry, figure, readers)} |" for entry, figure, _ in rows)])


def off_table(rows: Sequence[Row], readers: Mapping[str, str]) -> str:
    """What is off, and why."""
    if not rows:
        return "None."
    lines = [
        "| finding | code | of | n | positive | AUC (95 % CI) | AUC among the ill (95 % CI) | why off |",
        "|---|---|---|---|---|---|---|---|",
    ]
    told = [f"{_finding(entry, figure, readers)} | {entry.disabled_because} |" for entry, figure, _ in rows]
    return "\n".join([*lines, *told])


def _finding(entry: FindingEntry, figure: FindingFigures, readers: Mapping[str, str]) -> str:
    """The cells of both tables, without the last border."""
    general = any(spec.general for spec in illnesses_of(entry.modality) if spec.id == entry.id)
    control = "-" if figure.control is None else _estimate(figure.control)
    n, auc = ("-", "-") if figure.auc is None else (str(figure.auc.n), _estimate(figure.auc))
    return (
        f"| {figure.name} (`{figure.id}`) | {entry.code.value} {entry.code.scheme} "
        f"| {SINGLE[readers[entry.modality]]} | {n} | {figure.positives} "
        f"| {auc} | {'general' if general else control}"
    )


def said_table(figures: Sequence[FindingFigures], readers: Mapping[str, str]) -> str:
    """One row for each finding and data set."""
    rows = [
        "| finding | data set | AUC (95 % CI) | views | present | out of scope | abstained "
        "| sensitivity (95 % CI) | decided | specificity (95 % CI) | ECE |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        reader = readers[figure.id.split(".")[0]]
        for said in figure.said:
            auc = figure.auc_by_dataset[said.dataset]
            unit = (TOGETHER if said.simulated else SINGLE)[reader]
            rows.append(
                f"| `{figure.id}` | {said.dataset} | {'-' if auc is None else _estimate(auc)} "
                f"| {said.views} {unit} | {said.present} "
                f"| {said.out_of_scope} | {said.abstained} | {_rate(said.sensitivity)} "
                f"| {_number(said.sensitivity_decided)} | {_rate(said.specificity)} "
                f"| {_number(said.calibration_error)} |"
            )
    return "\n".join(rows)


def curve_table(figures: Sequence[FindingFigures]) -> str:
    """One row for each finding of a modality whose views are many samples."""
    rows = ["| finding | samples of a view | called present, by affected samples |", "|---|---|---|"]
    for figure in figures:
        if figure.curve:
            points = ", ".join(f"{point.affected}: {point.called:.2f}" for point in figure.curve)
            rows.append(f"| `{figure.id}` | {figure.curve[0].of} | {points} |")
    return "\n".join(rows)


def slice_lines(figures: Sequence[SliceFigures]) -> list[str]:
    """One paragraph for each finding that was tried on real slices."""
    return [
        f"Real DICOM slices (`{each.id}`): of {each.n} of as many patients with lung cancer, not chosen for "
        f"showing it, {each.present} lie above the threshold, at {_number(each.lowest)} to "
        f"{_number(each.highest)}; taken one by one, {each.n - each.in_scope} would be out of scope. No "
        "slice of a healthy person was at hand: "
        "**the specificity on DICOM CT is unknown**, and may be nil."
        for each in figures
    ]


def threshold_table(rows: Sequence[Row]) -> str:
    """Where each finding begins, what for, and what that gives."""
    lines = [
        "| finding | on | kind | present from | unsure from | aim on calib "
        "| sensitivity on val (95 % CI) | of | specificity on val (95 % CI) | of | aim missed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry, figure, each in rows:
        unsure = "-" if entry.unsure_from is None else _number(entry.unsure_from)
        sensitivity, specificity = figure.sensitivity, figure.specificity
        missed = "-" if sensitivity is None or each.trouble else _missed(each.target, sensitivity)
        lines.append(
            f"| `{entry.id}` | {'yes' if entry.enabled else 'no'} | {each.kind.name} "
            f"| {_number(entry.threshold)} | {unsure} "
            f"| {'none' if each.trouble else f'{each.target:.2f}'} | {_rate(sensitivity)} "
            f"| {0 if sensitivity is None else sensitivity.n} | {_rate(specificity)} "
            f"| {0 if specificity is None else specificity.n} | {missed} |"
        )
    return "\n".join(lines)


def _missed(target: float, sensitivity: Rate) -> str:
    """By how much the sensitivity lies below its aim, if even its interval does."""
    return f"{target - sensitivity.value:.2f}" if sensitivity.high < target else "no"


def calibration_table(rows: Sequence[Row]) -> str:
    """What probabilities rest on, and how far they are from what was so."""
    lines = [
        "| finding | on | examples | positive | groups | positive groups | prevalence | map "
        "| ECE on val (95 % CI) | views, bins | by chance |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for entry, figure, each in rows:
        data, told = each.data, figure.calibration
        error = "-" if told is None else f"{told.error:.3f} ({told.low:.3f} to {told.high:.3f})"
        chance = "-" if told is None else f"{told.perfect:.3f}, {told.perfect_high:.3f}"
        lines.append(
            f"| `{entry.id}` | {'yes' if entry.enabled else 'no'} | {data.n} | {data.positives} "
            f"| {data.groups} | {data.positive_groups} "
            f"| {'-' if math.isnan(data.prevalence) else f'{100 * data.prevalence:.0f} %'} "
            f"| {'guessed' if each.trouble else entry.calibration.method} | {error} "
            f"| {'-' if told is None else f'{told.n}, {told.bins}'} | {chance} |"
        )
    return "\n".join(lines)


def silent_table(figures: Sequence[SilentFigures]) -> str:
    """What has no code, and why."""
    if not figures:
        return "None."
    rows = [
        "| finding | n | positive | AUC (95 % CI) | AUC among the ill (95 % CI) | why not |",
        "|---|---|---|---|---|---|",
    ]
    for each in figures:
        auc = "-" if each.auc is None else _estimate(each.auc)
        control = "-" if each.control is None else _estimate(each.control)
        n, positives = ("-", "-") if each.auc is None else (str(each.auc.n), str(each.auc.positives))
        rows.append(f"| {each.name} `{each.id}` | {n} | {positives} | {auc} | {control} | {each.why} |")
    return "\n".join(rows)


def limits_table(readers: Mapping[str, str]) -> str:
    """One row for each modality, by its reader: the rule that its scope was sealed by."""
    rows = [
        "| modality | times the distance | log odds | kept of calibration data, least | part of a view |",
        "|---|---|---|---|---|",
    ]
    for modality, reader in readers.items():
        rule = rule_of(reader)
        rows.append(
            f"| {modality} | {rule.wider:g} | {rule.likelier:g} | {rule.kept:g} | {rule.view_quantile:g} |"
        )
    return "\n".join(rows)


def scope_table(scope: Sequence[ScopeFigures]) -> str:
    """One row for each modality."""
    rows = ["| modality | held out | kept | strangers | refused |", "|---|---|---|---|---|"]
    for each in scope:
        refused = "not measured" if each.refused is None else _number(each.refused)
        rows.append(
            f"| {each.modality} | {each.n} | {_number(each.kept)} | {each.strangers or '-'} | {refused} |"
        )
    return "\n".join(rows)


def parity_table(parity: Mapping[str, Parity]) -> str:
    """One row for each graph."""
    rows = [
        "| graph | inputs | difference | weights in | cosine, mean | cosine, least | recall | overlap "
        "| lost too much |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, each in parity.items():
        kept = each.kept
        refused = "; ".join(
            f"{r.precision} (cosine {r.centred_cosine:.4f}, recall {r.recall:.3f})" for r in each.refused
        )
        rows.append(
            f"| {name} | {each.n} | {each.difference:.1e} | {kept.precision} | {kept.centred_cosine:.4f} "
            f"| {kept.lowest_centred_cosine:.4f} | {kept.recall:.3f} | {kept.overlap:.3f} "
            f"| {refused or '-'} |"
        )
    return "\n".join(rows)


def _estimate(told: Estimate) -> str:
    return f"{_number(told.value)} ({_number(told.low)} to {_number(told.high)})"


def _rate(told: Rate | None) -> str:
    if told is None or math.isnan(told.value):
        return "-"
    return f"{told.value:.2f} ({told.low:.2f} to {told.high:.2f})"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
