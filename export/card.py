"""MODEL_CARD.md, made from measured figures: no number in it is typed by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.bundle.catalogue import FindingEntry
from export.catalogue import LeftOut
from export.measure import FindingFigures, ScopeFigures
from export.parity import Parity
from m3bind.config import Recipe

LIMITS = (
    "Few examples, most of them downscaled, from a handful of hospitals; several val splits come from "
    "the same source as their training data, so that figures elsewhere will be lower.",
    "Chest radiographs: frontal only. The pneumonia examples are mostly of children from one hospital "
    "(`kermany`); the other findings are labels that were read by machine from reports (`nih`).",
    "No labelled whole series or slides were at hand: for CT and pathology, calibration, thresholds and what "
    "is said were judged on series and slides put together from labelled slices and tiles (in a quarter of "
    "which the finding is present), which are tidier than real ones.",
    "The CT training slices are 8-bit JPEG files whose window had to be inferred.",
    "Thresholds rest on a calibration split with few positives for rare findings; see the table's numbers.",
    "What is not in the table above cannot be found: absence of a finding here is no statement of health.",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything the card tells."""

    recipe: Recipe
    created: str
    commit: str
    data: tuple[str, ...]
    findings: tuple[FindingEntry, ...]
    figures: tuple[FindingFigures, ...]
    scope: tuple[ScopeFigures, ...]
    parity: dict[str, Parity]
    left_out: tuple[LeftOut, ...]


def model_card(facts: CardFacts) -> str:
    """The whole card as Markdown."""
    name = f"{facts.recipe.name} {facts.recipe.version}"
    parts = [
        f"# {name}",
        "**Not a medical device. For research only; never decide about a patient by it.**",
        _what(facts),
        "## Findings\n\n" + _FINDINGS_INTRODUCTION + "\n\n" + _findings_table(facts),
        _left_out(facts.left_out),
        "## Out of scope\n\n" + _SCOPE_INTRODUCTION + "\n\n" + _scope_table(facts.scope),
        "## The graphs\n\n" + _GRAPHS_INTRODUCTION + "\n\n" + _parity_table(facts.parity),
        "## Training data and licences\n\n" + "\n".join(f"- {line}" for line in sorted(set(facts.data))),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in LIMITS),
        "## Method\n\n" + _METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(facts: CardFacts) -> str:
    modalities = ", ".join(facts.recipe.modalities)
    return (
        f"Encoders for {modalities} and one text encoder, all into a space of "
        f"{facts.recipe.dimension} dimensions. Sealed {facts.created} from commit `{facts.commit}`."
    )


_FINDINGS_INTRODUCTION = """\
Measured on the held-out split of each data set (no patient or group of it was trained or calibrated
on), through the sealed ONNX graphs and the code that judges studies in the node. AUC is zero-shot:
the margin between prompts for and against, no classifier. Pairs are compared within one data set
only. Intervals: 95 %, bootstrap over patients or groups. Accuracy, sensitivity and specificity are
over views (see Limits) in scope on which the model did not abstain; ECE is the expected calibration error."""


def _findings_table(facts: CardFacts) -> str:
    codes = {entry.id: entry for entry in facts.findings}
    rows = [
        "| finding | code | n | positive | AUC (95 % CI) | threshold | accuracy | sensitivity | specificity "
        "| abstained | ECE |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for f in facts.figures:
        entry = codes[f.id]
        rows.append(
            f"| {f.name} (`{f.id}`) | {entry.code.value} {entry.code.scheme} | {f.auc.n} | {f.auc.positives} "
            f"| {_number(f.auc.value)} ({_number(f.auc.low)} to {_number(f.auc.high)}) "
            f"| {_number(entry.threshold)} "
            f"| {_number(f.accuracy)} | {_number(f.sensitivity)} | {_number(f.specificity)} "
            f"| {f.abstained} | {_number(f.calibration_error)} |"
        )
    return "\n".join(rows)


def _left_out(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    return "Left out of the bundle:\n\n" + "\n".join(f"- `{each.id}`: {each.reason}." for each in left_out)


_SCOPE_INTRODUCTION = """\
Mahalanobis distance to the training embeddings; the threshold keeps 95 % of the calibration split,
both as it is and altered as in training. Kept: part of the held-out split that is in scope. Refused:
part of images of other body parts (limb radiographs, head CT), which were never trained on, that is
out of scope."""


def _scope_table(scope: Sequence[ScopeFigures]) -> str:
    rows = ["| modality | held out | kept | strangers | refused |", "|---|---|---|---|---|"]
    for each in scope:
        refused = "not measured" if each.refused is None else _number(each.refused)
        rows.append(
            f"| {each.modality} | {each.n} | {_number(each.kept)} | {each.strangers or '-'} | {refused} |"
        )
    return "\n".join(rows)


_GRAPHS_INTRODUCTION = """\
Weights are stored in 8 bits per channel, arithmetic is single precision. Difference: largest of the
graph in single precision to torch. Cosine: of the sealed graph to single precision on real inputs,
after the mean embedding is taken off."""


def _parity_table(parity: dict[str, Parity]) -> str:
    rows = ["| graph | inputs | difference | cosine, mean | cosine, least |", "|---|---|---|---|---|"]
    for name, each in parity.items():
        rows.append(
            f"| {name} | {each.n} | {each.difference:.1e} | {each.centred_cosine:.4f} "
            f"| {each.lowest_centred_cosine:.4f} |"
        )
    return "\n".join(rows)


_METHOD = """\
M3Bind (arXiv 2506.18072): each modality's image and text tower are trained with a contrastive loss;
then bound by the same texts, embedded by every text tower, whose distances are minimised; then
distilled into one text encoder. Image towers start from EfficientNet-Lite0 (ImageNet, Apache-2.0),
text from all-MiniLM-L6-v2 (Apache-2.0); the ECG tower starts from nothing. The whole recipe stands
in `bundle.json`."""


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
