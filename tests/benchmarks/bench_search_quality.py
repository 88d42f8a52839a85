"""Whether questions find what they ask for, and not what they deny: labelled held-out data of all modalities
in one archive, asked finding by finding.

    python tests/benchmarks/bench_search_quality.py [BUNDLE] [--each 300] [--kept FOLDER]

For every finding that the bundle reports and that `val` holds 3 examples of, both ways: the affirmed
question is its name, the denied one `no` and its name. P@10 is the part of the first ten answers for which
that is true (fewer answers than ten: of those; one of another modality is false, one without a label is not
counted). `plain` embeds the question as it stands and takes the nearest of the same modality. `same` is the
part of the affirmed question's first ten that the denied one returns, too; `wrong` is the part of the denied
question's first ten that have the finding.
`chance` is P@10 of answers drawn at random. Needs the `train` extra, and the training data (M3BIND_DATA).
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # so that it runs alone, from any folder

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.engine import Engine
from dicom_node.errors import InputError
from dicom_node.pixels.ops import compile_operations
from dicom_node.records import Assessment, Sample, SourceRef, StudyRead, View
from dicom_node.search.answer import Request, Searcher
from dicom_node.search.ports import Speaker
from dicom_node.search.vocabulary import load_vocabulary
from dicom_node.store.search_facts import Candidate, Filters, Level
from export.encode import spread
from m3bind.data.catalogue import findings_of, labels_of
from m3bind.data.examples import Example
from m3bind.data.sources import DATASETS, data_root
from tests.support.search_index import IndexInMemory, Row
from tests.support.tree import ROOT

DATA: Mapping[str, tuple[str, ...]] = {
    "xray": ("nih", "kermany"),
    "ct": ("iq_othnccd",),
    "retina": ("idrid",),
    "ecg": ("ptbxl", "ludb"),
    "pathology": ("lc25000",),
}
READER = {"xray": "radiograph", "ct": "ct", "retina": "retina", "ecg": "ecg", "pathology": "slide"}
FIRST = 10
LEAST_POSITIVES = 3

Labels = Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Archive:
    """Held-out studies, indexed as a node would."""

    index: IndexInMemory
    labels: dict[str, Labels]
    """By study UID: 1 present, 0 absent, None not told."""
    modality: dict[str, str]


@dataclass(frozen=True, slots=True)
class Found:
    """What one question returned first."""

    right: float
    """P@10; NaN where nothing that has a label came."""
    studies: tuple[str, ...]
    wrong: float
    """Part of them that have the finding, of those with a label."""


def main() -> None:
    """Print the table."""
    told = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    told.add_argument("bundle", type=Path, nargs="?", default=ROOT / "dicom_node" / "assets" / "m3bind-mini")
    told.add_argument("--each", type=int, default=300, help="studies of each modality at most")
    told.add_argument("--kept", type=Path, help="folder that keeps what was encoded, for the next run")
    asked = told.parse_args()
    with TemporaryDirectory() as folder:
        kept: Path = asked.kept or Path(folder)
        engine = Engine.load(asked.bundle, providers=["cpu"], threads=1, cache_dir=kept)
        archive = fill(engine, asked.each, kept)
    speaker = Speaker(
        engine.identity,
        tuple(engine.encoders),
        engine.bundle.findings,
        frozenset(entry.id for entry in engine.findings),
        engine.embed_texts,
    )
    searcher = Searcher(archive.index, speaker, load_vocabulary(), lambda: date(2026, 1, 1))
    Console(width=150).print(table(engine, searcher, archive))


def fill(engine: Engine, each: int, kept: Path) -> Archive:
    """At most `each` held-out examples of every modality, each a study of one view."""
    archive = Archive(IndexInMemory(), {}, {})
    for name in engine.encoders:
        examples = spread(held_out(name), each)
        file = kept / f"{engine.identity.digest[:12]}-{name}-{each}.npz"
        if not file.is_file():
            np.savez(file, allow_pickle=False, **encoded(engine, examples))
        with np.load(file) as answers:
            add(archive, engine, name, examples, {key: answers[key] for key in answers})
    return archive


def encoded(engine: Engine, examples: Sequence[Example]) -> dict[str, NDArray[np.generic]]:
    """What the node says of each: `embedding` (N, D), `in_scope` (N,), `taken` (N,), and by finding id the
    probability (N,), NaN where there is none."""
    rows: list[Assessment] = []
    taken = []
    for example in examples:
        step = compile_operations(engine.encoders[example.modality].preprocess)
        try:
            values = step(example.load()).values
        except InputError:
            taken.append(False)
            continue
        taken.append(True)
        source = SourceRef("1.2.840.10008.5.1.4.1.1.7", "2.25.1.2")
        view = View(example.modality, "2.25.1.1", (Sample(values, source),), (source,))
        rows.append(engine.assess("2.25.1", StudyRead((view,), ())))
    found = [{finding.id: finding.probability for finding in row.findings} for row in rows]
    ids = sorted({identifier for told in found for identifier in told})
    return {
        "taken": np.array(taken),
        "embedding": np.array([row.views[0].embedding for row in rows]),
        "in_scope": np.array([row.views[0].in_scope for row in rows]),
        **{name: np.array([told.get(name, np.nan) for told in found]) for name in ids},
    }


def add(
    archive: Archive,
    engine: Engine,
    modality: str,
    examples: Sequence[Example],
    answers: Mapping[str, NDArray[np.generic]],
) -> None:
    """Index what `encoded` told."""
    kept = [example for example, taken in zip(examples, answers["taken"], strict=True) if taken]
    scored = [key for key in answers if key not in ("taken", "embedding", "in_scope")]
    for number, example in enumerate(kept):
        uid = f"2.25.{int(hashlib.sha256(str(example.path.name).encode()).hexdigest()[:24], 16)}"
        told = {name: float(answers[name][number]) for name in scored}
        candidate = Candidate(
            uid,
            Level.SERIES,
            None,
            f"{uid}.1",
            0,
            modality,
            None,
            None,
            None,
            None,
            None,
            None,
            {name: value for name, value in told.items() if not math.isnan(value)},
        )
        row = Row(
            engine.identity.digest, candidate, answers["embedding"][number], bool(answers["in_scope"][number])
        )
        archive.index.rows.append(row)
        archive.labels[uid], archive.modality[uid] = example.labels, modality


def held_out(modality: str) -> list[Example]:
    """`val`, with labels, whatever the recipe of the bundle was."""
    specs = findings_of(modality)
    return [
        Example(
            modality,
            dataset,
            row.path,
            READER[modality],
            "val",
            row.group,
            labels_of(specs, dataset, row.columns),
        )
        for dataset in DATA[modality]
        for row in DATASETS[dataset](data_root())
        if row.split != "train"
    ]


def table(engine: Engine, searcher: Searcher, archive: Archive) -> Table:
    """One line for each finding, and their mean."""
    made = Table(title=f"{engine.identity.name} {engine.identity.version}, {len(archive.labels)} studies")
    head = ("finding", "n", "with", "chance", "P@10", "plain", "no: chance", "P@10", "plain", "same", "plain")
    for column in (*head, "wrong", "plain"):
        made.add_column(column, justify="left" if column == "finding" else "right")
    lines = []
    for entry in engine.findings:
        told = [labels[entry.id] for labels in archive.labels.values() if labels.get(entry.id) is not None]
        if told.count(1) >= LEAST_POSITIVES and told.count(0) >= LEAST_POSITIVES:
            figures = line(engine, searcher, archive, entry)
            lines.append(figures)
            made.add_row(entry.id, str(len(told)), str(told.count(1)), *(f"{x:.2f}" for x in figures))
    means = np.nanmean(np.array(lines), axis=0)
    made.add_section()
    made.add_row(f"mean of {len(lines)}", "", "", *(f"{x:.3f}" for x in means))
    return made


def line(engine: Engine, searcher: Searcher, archive: Archive, entry: FindingEntry) -> list[float]:
    """The figures of one finding, as the table has them."""
    told = [labels[entry.id] for labels in archive.labels.values() if labels.get(entry.id) is not None]
    share = told.count(1) / len(told)
    name = entry.name.lower()
    asked = {wanted: ask(searcher, archive, entry, name, wanted) for wanted in (1, 0)}
    plain = {wanted: nearest(engine, archive, entry, name, wanted) for wanted in (1, 0)}
    figures = [share, asked[1].right, plain[1].right, 1 - share, asked[0].right, plain[0].right]
    figures += [overlap(found[0].studies, found[1].studies) for found in (asked, plain)]
    return [*figures, asked[0].wrong, plain[0].wrong]


def ask(searcher: Searcher, archive: Archive, entry: FindingEntry, name: str, wanted: int) -> Found:
    """The question as the node answers it, in all modalities."""
    answer = searcher.ask(Request(name if wanted else f"no {name}", limit=FIRST))
    return found_by([hit.row.study_uid for hit in answer.hits], archive, entry, wanted)


def nearest(engine: Engine, archive: Archive, entry: FindingEntry, name: str, wanted: int) -> Found:
    """The studies of the finding's modality nearest to the words of the question."""
    vector: NDArray[np.float32] = engine.embed_texts([name if wanted else f"no {name}"])[0]
    filters = Filters(engine.identity.digest, Level.SERIES, modalities=(entry.modality,))
    rows = archive.index.nearest(vector, filters, FIRST)
    return found_by([row.study_uid for row in rows], archive, entry, wanted)


def found_by(studies: Sequence[str], archive: Archive, entry: FindingEntry, wanted: int) -> Found:
    """What came, against the labels. A study of another modality does not fulfil an affirmed question, and
    nobody asked it about a denied one."""
    told = [
        archive.labels[uid][entry.id] if archive.modality[uid] == entry.modality else 1 - wanted
        for uid in studies
    ]
    known = [label for label in told if label is not None]
    right = float(np.mean([label == wanted for label in known])) if known else float("nan")
    wrong = float(np.mean([label == 1 for label in known])) if known else float("nan")
    return Found(right, tuple(studies), wrong)


def overlap(one: Sequence[str], other: Sequence[str]) -> float:
    """Part of `one` that is in `other`."""
    return len(set(one) & set(other)) / len(one) if one else float("nan")


if __name__ == "__main__":
    main()
