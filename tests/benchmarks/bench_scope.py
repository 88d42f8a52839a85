"""What a bundle lets pass and what it refuses, by kind of stranger: held-out data against inputs that no part
of the bundle was fitted on.

    python tests/benchmarks/bench_scope.py [BUNDLE] [--modality xray] [--each 60] [--cross]

AUROC compares the scores of a kind with those of the held-out split (`val`, as it is); `kept` and `refused`
are parts at the bundle's own threshold. Strangers are drawn anew, from other random numbers and from the
held-out split of the other modalities, and to them come real images that nothing was ever fitted on:
radiographs of limbs, CT of heads (../shared/data/*/not_chest), and photographs that Python packages carry.
`altered` is the held-out split as another hospital would have made it. Series and slides are put together
from single slices and tiles: real ones whose content is known are not at hand. `sent` are drawn objects that
go the way of `dicom-node analyse`, from the file to the view; what a reader refuses counts as refused.

`--cross` fits the scope of a modality on one of its data sets alone and tells how much of the others is kept.
Needs the `train` extra, and the training data (M3BIND_DATA).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from dicom_node.analyse import find_studies
from dicom_node.bundle.manifest import Encoder
from dicom_node.bundle.store import Bundle, open_bundle
from dicom_node.errors import InputError
from dicom_node.findings.scope import ScopeStatistics, sample_scores, scored_vectors, view_score
from dicom_node.inference.images import encode_samples
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import IMAGE_INPUT, Runner
from dicom_node.pixels.ops import Patch, compile_operations
from dicom_node.pixels.select import read_study
from export.encode import spread
from export.other_machines import other_machine
from export.scope import entry_of, fit_signature, rule_of
from export.scope_data import strangers_to
from export.signature import FEATURES
from export.strangers import as_read
from m3bind.data.examples import Example, Split
from m3bind.data.sources import DATASETS, data_root, training_part
from tests.support.samples import OTHER_TISSUE
from tests.support.strange_objects import PICTURES, as_fundus, as_radiograph, as_series, as_slide, write
from tests.support.tree import ROOT

Floats = NDArray[np.float32]
Scores = NDArray[np.float64]

DATA: Mapping[str, tuple[str, ...]] = {
    "xray": ("nih", "kermany"),
    "ct": ("iq_othnccd",),
    "retina": ("idrid",),
    "ecg": ("ptbxl", "ludb"),
    "pathology": ("lc25000",),
}
NEVER_FITTED = {"xray": ("not_chest", "limb radiographs"), "ct": ("not_chest_ct", "CT of heads")}
OTHERS = {"ct": "a head", "slide": "skin"}
"""By reader: what views that are put together hold of another body part or tissue."""
READERS = {"xray": "radiograph", "ct": "ct", "retina": "retina", "ecg": "ecg", "pathology": "slide"}
SEED = 77
HELD_OUT = 300
SAMPLES = 24
"""Of a view that is put together."""
OBJECTS = 10
"""Of each kind that is sent."""
SENT: Mapping[str, Callable[[Callable[[int], Scores], int], list[Dataset]]] = {
    "radiograph": lambda draw, seed: as_radiograph(draw(seed)),
    "ct": lambda draw, seed: as_series([draw(seed + place) for place in range(4)]),
    "retina": lambda draw, seed: as_fundus(draw(seed)),
    "slide": lambda draw, seed: as_slide(draw(seed)),
}
"""By reader: a drawing as an object."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    modality: str
    what: str
    n: int
    auroc: float | None
    kept: float


def main() -> None:
    """Print the table."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("bundle", type=Path, nargs="?", default=ROOT / "dicom_node" / "assets" / "m3bind-mini")
    told.add_argument("--modality", action="append", help="only this one; may be given several times")
    told.add_argument("--each", type=int, default=60, help="strangers of each kind")
    told.add_argument("--cross", action="store_true", help="fit on one data set, measure on the others")
    asked = told.parse_args()
    bundle = open_bundle(asked.bundle)
    table = Table(title=f"{bundle.identity.name} {bundle.identity.version}")
    for column in ("modality", "what", "n", "AUROC", "kept", "refused"):
        table.add_column(column, justify="left" if column in ("modality", "what") else "right")
    for modality in asked.modality or [m for m in bundle.manifest.encoders if m in bundle.scope]:
        rows = crossed(bundle, modality) if asked.cross else measured(bundle, modality, asked.each)
        for row in rows:
            figure = "" if row.auroc is None else f"{row.auroc:.4f}"
            table.add_row(
                row.modality, row.what, str(row.n), figure, f"{row.kept:.3f}", f"{1 - row.kept:.3f}"
            )
        table.add_section()
    Console(width=110).print(table)


def measured(bundle: Bundle, modality: str, each: int) -> Iterator[Row]:
    """Every kind of one modality."""
    encoder, statistics = bundle.manifest.encoders[modality], ScopeStatistics.of(bundle.scope[modality])
    runner = OnnxRunner(bundle.path(encoder.file), threads=1)
    random = np.random.default_rng(SEED)

    def given(patches: Iterator[Patch] | Sequence[Patch]) -> tuple[Floats, int]:
        return _vectors(patches, encoder, runner, statistics)

    def row(what: str, vectors: Floats, refused_before: int = 0) -> Row:
        scores = sample_scores(vectors, statistics) if len(vectors) else np.zeros(0)
        scores = np.concatenate([scores, np.full(refused_before, np.inf)])
        kept = float((scores <= statistics.threshold).mean())
        return Row(modality, what, len(scores), auroc(home, scores), kept)

    held_out = spread(_examples(modality, "val"), HELD_OUT)
    own, _ = given(example.load() for example in held_out)
    home = sample_scores(own, statistics)
    yield replace(row("held out", own), auroc=None)
    altered, _ = given(other_machine(example.load(), encoder.reader, random) for example in held_out)
    yield row("held out, altered", altered)
    others = [e for m in DATA if m != modality for e in spread(_examples(m, "val"), HELD_OUT)]
    by_kind: dict[str, list[Patch]] = {}
    for stranger in strangers_to(encoder.reader, held_out, others, each, random):
        by_kind.setdefault(stranger.kind, []).append(stranger.patch)
    if encoder.reader != "ecg":
        by_kind |= {"photographs (real)": list(_photographs(encoder.reader, each, random))}
    for kind, patches in by_kind.items():
        if patches:
            yield row(kind, *given(patches))
    if modality in NEVER_FITTED:
        dataset, name = NEVER_FITTED[modality]
        strange, lost = given(example.load() for example in _of(dataset, modality))
        yield row(f"{name} (real)", strange, lost)
    elif encoder.reader == "slide":
        (view,) = _views([OTHER_TISSUE], modality, encoder)
        strange = scored_vectors(encode_samples(runner, view, encoder.input_shape), statistics)
        yield row("tiles of skin (real)", strange)
    if encoder.reader in OTHERS:
        yield from _put_together(modality, OTHERS[encoder.reader], own, strange, statistics, random)
    for kind, draw in PICTURES.items() if encoder.reader in SENT else ():
        scores = _sent(draw, modality, encoder, runner, statistics)
        kept = float((scores <= statistics.threshold).mean())
        yield Row(modality, f"sent: {kind}", len(scores), auroc(home, scores), kept)


def _sent(
    draw: Callable[[int], Scores],
    modality: str,
    encoder: Encoder,
    runner: Runner,
    statistics: ScopeStatistics,
) -> Scores:
    """Of OBJECTS views; infinite where a reader made no view of the object."""
    with TemporaryDirectory() as folder:
        for seed in range(OBJECTS):
            write(SENT[encoder.reader](draw, seed), Path(folder))
        found = _views([Path(folder)], modality, encoder)
    scores = np.full(OBJECTS, np.inf)
    for index, view in enumerate(found):
        vectors = encode_samples(runner, view, encoder.input_shape)
        scores[index] = view_score(scored_vectors(vectors, statistics), statistics)
    return scores


def _views(paths: Sequence[Path], modality: str, encoder: Encoder) -> list[list[Floats]]:
    """The samples of every view that a reader makes of the studies under `paths`."""
    studies = find_studies(paths).studies.values()
    read = [read_study(instances, {modality: encoder}) for instances in studies]
    return [[sample.values for sample in view.samples] for each in read for view in each.views]


def _put_together(
    modality: str,
    other: str,
    own: Floats,
    strange: Floats,
    statistics: ScopeStatistics,
    random: np.random.Generator,
) -> Iterator[Row]:
    """Views of SAMPLES samples, some of them of something else."""
    for others in (0, 4, 8, 12, 18, SAMPLES):
        views = [
            np.concatenate(
                [own[random.choice(len(own), SAMPLES - others)], strange[random.choice(len(strange), others)]]
            )
            for _ in range(100)
        ]
        kept = [view_score(view, statistics) <= statistics.threshold for view in views]
        what = f"put together: {others} of {SAMPLES} of {other}"
        yield Row(modality, what, len(views), None, float(np.mean(kept)))


def crossed(bundle: Bundle, modality: str) -> Iterator[Row]:
    """Fit on one data set of the modality alone, with the strangers of all: what of each val is kept."""
    encoder = bundle.manifest.encoders[modality]
    with TemporaryDirectory() as folder:
        graph = _with_features(bundle.path(encoder.file), Path(folder) / "graph.onnx")
        runner = OnnxRunner(graph, threads=1)
    random, step = np.random.default_rng(SEED), compile_operations(encoder.preprocess)

    def features(patches: Iterator[Patch] | Sequence[Patch]) -> tuple[Floats, list[int]]:
        samples, kept = _prepared(patches, step)
        return np.concatenate([runner.run({IMAGE_INPUT: s[None]})[FEATURES] for s in samples]), kept

    def both(found: Sequence[Example]) -> Floats:
        plain, _ = features(e.load() for e in found)
        return np.concatenate(
            [plain, features(other_machine(e.load(), encoder.reader, random) for e in found)[0]]
        )

    others = [e for m in DATA if m != modality for e in spread(_examples(m, "train"), HELD_OUT)]
    for one in DATA[modality]:
        own = spread(_of(one, modality, "train"), HELD_OUT)
        made = strangers_to(encoder.reader, own, others, 60, random)
        strange, kept = features([each.patch for each in made])
        signature = fit_signature(both(own), strange, [made[index].kind for index in kept])
        calib = signature.linear(both(spread(_of(one, modality, "calib"), HELD_OUT)))
        statistics = ScopeStatistics.of(entry_of(calib, signature, rule_of(encoder.reader)))
        for other in DATA[modality]:
            found, _ = features(e.load() for e in spread(_of(other, modality, "val"), HELD_OUT))
            scores = sample_scores(signature.linear(found), statistics)
            share_kept = float((scores <= statistics.threshold).mean())
            yield Row(modality, f"fitted on {one}, held out of {other}", len(scores), None, share_kept)


def _with_features(source: Path, target: Path) -> Path:
    """The graph with its features, which lie before the signature, as an output."""
    model = onnx.load(source)
    model.graph.output.append(onnx.helper.make_tensor_value_info(FEATURES, onnx.TensorProto.FLOAT, None))
    onnx.save(model, target)
    return target


def auroc(home: Scores, strange: Scores) -> float:
    """How often a stranger's score lies above one from home; equal ones count half."""
    above = (strange[:, None] > home[None]).mean() + 0.5 * (strange[:, None] == home[None]).mean()
    return float(above)


def _prepared(
    patches: Iterator[Patch] | Sequence[Patch], step: Callable[[Patch], Patch]
) -> tuple[list[Floats], list[int]]:
    samples, kept = [], []
    for index, patch in enumerate(patches):
        try:
            samples.append(step(patch).values)
        except InputError:
            continue
        kept.append(index)
    return samples, kept


def _vectors(
    patches: Iterator[Patch] | Sequence[Patch], encoder: Encoder, runner: Runner, statistics: ScopeStatistics
) -> tuple[Floats, int]:
    """What the scope is about, and how many inputs preprocessing refused before."""
    given = list(patches)
    samples, kept = _prepared(given, compile_operations(encoder.preprocess))
    if not samples:
        return np.zeros((0, statistics.width), dtype=np.float32), len(given)
    vectors = encode_samples(runner, samples, encoder.input_shape)
    return scored_vectors(vectors, statistics), len(given) - len(kept)


def _of(dataset: str, modality: str, split: Split | None = None) -> list[Example]:
    """Examples without labels, whatever the recipe of the bundle was."""
    made = []
    for row in DATASETS[dataset](data_root()):
        part: Split = "val" if row.split != "train" else "train" if training_part(row) else "calib"
        if split in (None, part):
            made.append(Example(modality, dataset, row.path, READERS[modality], part, row.group, {}))
    return made


def _examples(modality: str, split: Split) -> list[Example]:
    return [example for dataset in DATA[modality] for example in _of(dataset, modality, split)]


def _photographs(reader: str, count: int, random: np.random.Generator) -> Iterator[Patch]:
    """Parts of the photographs that installed packages carry for their own examples; none where none do."""
    places = [Path(entry) for entry in sys.path if (Path(entry) / "numpy").is_dir()]
    names = (
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "sklearn/datasets/images/china.jpg",
        "sklearn/datasets/images/flower.jpg",
    )
    found = [place / name for place in places for name in names if (place / name).is_file()]
    for index in range(count if found else 0):
        with Image.open(found[index % len(found)]) as image:
            colours = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255)
        height, width = colours.shape[:2]
        side = int(min(height, width) * random.uniform(0.4, 1.0))
        top, left = int(random.integers(height - side + 1)), int(random.integers(width - side + 1))
        yield as_read(colours[top : top + side, left : left + side], reader, random)


if __name__ == "__main__":
    main()
