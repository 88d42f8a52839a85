"""A checkpoint folder becomes a sealed bundle folder: the whole of it, told in order."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry, FindingsFile, ScopeEntry, ScopeFile
from dicom_node.bundle.manifest import FORMAT, Encoder, Manifest, Provenance, SelfTest, Text
from dicom_node.errors import InferenceError
from dicom_node.findings.assess import Knowledge
from dicom_node.findings.prompts import make_anchors, prompt_texts
from dicom_node.findings.scope import ScopeStatistics
from dicom_node.findings.score import sample_margins
from dicom_node.inference.batching import MAX_BATCH
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import EMBEDDING, EVIDENCE, IMAGE_INPUT, MASK_INPUT, SIGNATURE, TOKEN_INPUT
from dicom_node.inference.texts import TextEncoder, load_tokenizer
from dicom_node.records import ViewVectors
from export.calibrate import Calibrated, calibrate, prevalence_of
from export.card import CardFacts, model_card
from export.catalogue import drafts, why_off
from export.dicom import SliceFigures, measure_slices
from export.encode import Say, encode_examples, load_samples, spread
from export.graphs import export_text, export_tower
from export.large import LARGEST, weights_beside
from export.measure import (
    CHOSEN_ON,
    SPLIT,
    FindingFigures,
    ScopeFigures,
    SilentFigures,
    label_vector,
    measure_aucs,
    measure_findings,
    measure_scope,
    measure_silent,
    sealed,
)
from export.parity import Kept, Parity, check_single, compare
from export.quantise import PRECISIONS, quantise
from export.scope import teach_scope
from export.scope_data import scope_data
from export.seal import MOST_MEGABYTES, digests, size, workshop, write_manifest
from export.selftest import MIN_COSINE, write_selftest
from export.signature import WithFeatures
from m3bind.checkpoint import BoundModel, load_checkpoint
from m3bind.commit import commit_of_code
from m3bind.config import ModalityRecipe
from m3bind.data.catalogue import findings_of
from m3bind.data.examples import Example, duplicates, examples, out_of_scope_examples
from m3bind.data.sources import cancer_slices, data_root
from m3bind.metrics import Estimate

Floats = NDArray[np.float32]

PARITY_INPUTS = 200
STRINGS = ("chest radiograph showing pneumonia", "no pleural effusion", "normal ecg", "adenocarcinoma")
"""What the self-test embeds."""
TEXT_FILE, TOKENIZER_FILE = "text.onnx", "tokenizer.json"
DESCRIPTION = "Findings by prompt, by M3Bind encoders. Not a medical device."


@dataclass(frozen=True, slots=True)
class Options:
    """How to build."""

    threads: int = 2
    most_megabytes: float = MOST_MEGABYTES
    """A larger bundle is refused."""
    most_examples: int | None = None
    """Of each modality and split; None takes all. For tests."""
    version: str | None = None
    """Of the bundle; None takes the recipe's."""
    largest_graph: int = LARGEST
    """Bytes of weights beyond which a graph keeps them in a file beside it."""
    notes: tuple[str, ...] = ()
    """What the card should say of how the checkpoint came about and no file tells."""


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One modality, ready to be sealed."""

    findings: tuple[FindingEntry, ...]
    calibrated: tuple[Calibrated, ...]
    """One for each finding, as are `figures`."""
    scope: ScopeEntry
    figures: tuple[FindingFigures, ...]
    silent: tuple[SilentFigures, ...]
    slices: tuple[SliceFigures, ...]
    scope_figures: ScopeFigures
    duplicates: tuple[tuple[str, str], ...]
    """Files of val whose very bytes were trained or calibrated on, and the file there."""


def build(checkpoint: Path, out: Path, say: Say, options: Options | None = None) -> Path:
    """Make the bundle `out` from `checkpoint`; `out` appears only when all of it is finished.

    Raises ConfigError for a checkpoint that cannot be read or an `out` that is something else,
    InferenceError where a graph differs from its tower. Takes minutes: every data set is embedded.
    """
    chosen = options or Options()
    model = load_checkpoint(checkpoint)
    torch.set_num_threads(chosen.threads)
    with workshop(out, chosen.most_megabytes) as folder:
        encoders, scopes, parity = _graphs(model, folder, say, chosen)
        runners = {m: _runner(folder, e, chosen) for m, e in encoders.items()}
        text_runner, text = _text_encoder(model, folder, chosen)
        judged = {
            modality: _judge(model, modality, encoder, runners[modality], text, scopes[modality], say, chosen)
            for modality, encoder in encoders.items()
        }
        say("Sealing")
        write_selftest(folder / "selftest.npz", encoders, runners, (text_runner, text), STRINGS)
        manifest = _seal(model, encoders, judged, parity, folder, chosen)
    say(f"{out}: {manifest.name} {manifest.version}, {size(out) / 1e6:.1f} MB")
    return out


def _runner(folder: Path, part: Encoder | Text, options: Options) -> OnnxRunner:
    weights = {folder / name: None for name in part.weights}
    return OnnxRunner(folder / part.file, threads=options.threads, weights=weights)


def describe_encoder(part: ModalityRecipe, modality: str) -> Encoder:
    """The bundle's description of one encoder, as the recipe states it."""
    return Encoder(
        file=f"encoders/{modality}.onnx",
        reader=part.reader,
        sampling=part.sampling,
        preprocess=part.preprocess,
        input_shape=part.input_shape,
        evidence=True,
        pooling=part.pooling,
    )


def _graphs(
    model: BoundModel, folder: Path, say: Say, options: Options
) -> tuple[dict[str, Encoder], dict[str, ScopeEntry], dict[str, Parity]]:
    """Write every graph, fit its signature and scope, and measure it against its tower on real inputs of the
    calibration split."""
    encoders: dict[str, Encoder] = {}
    scopes: dict[str, ScopeEntry] = {}
    parity: dict[str, Parity] = {}
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".graphs-") as scratch:
        for modality, part in model.recipe.modalities.items():
            say(f"Exporting {modality}")
            encoder, tower = describe_encoder(part, modality), model.images[modality]
            single = Path(scratch) / f"{modality}.onnx"
            outputs = export_tower(WithFeatures(tower), encoder.input_shape, single, [SIGNATURE])
            found = spread(examples(model.recipe, modality, "calib"), PARITY_INPUTS)
            given = np.stack(load_samples(found, encoder))
            with torch.no_grad():
                wanted = torch.cat(
                    [tower(batch)[0] for batch in torch.split(torch.from_numpy(given), MAX_BATCH)]
                )
            parity[modality] = _write(
                modality, single, folder / encoder.file, wanted.numpy(), {IMAGE_INPUT: given}, options
            )
            encoders[modality] = encoder.model_copy(
                update={
                    "evidence": EVIDENCE in outputs,
                    "weights": _beside(folder, encoder.file),
                }
            )
            # On the weights as sealed; the map stays in single precision, of which 8 bits would leave little.
            runner = _runner(folder, encoders[modality], options)
            data = scope_data(model.recipe, modality, encoder, runner, say, options.most_examples)
            scopes[modality] = teach_scope(data, encoder.reader, folder / encoder.file)
        say("Exporting text")
        single = Path(scratch) / TEXT_FILE
        export_text(model.text, single)
        ids, mask = _tokens(model)
        with torch.no_grad():
            wanted = model.text(torch.from_numpy(ids), torch.from_numpy(mask))
        tokens = {TOKEN_INPUT: ids, MASK_INPUT: mask}
        parity["text"] = _write("text", single, folder / TEXT_FILE, wanted.numpy(), tokens, options)
    return encoders, scopes, parity


def _beside(folder: Path, file: str) -> tuple[str, ...]:
    return tuple(path.relative_to(folder).as_posix() for path in weights_beside(folder / file))


def _write(
    name: str,
    single: Path,
    target: Path,
    wanted: Floats,
    given: Mapping[str, NDArray[Any]],
    options: Options,
) -> Parity:
    """Write `target` in the fewest bits that keep what the graph `single` answers to `given`, real inputs, to
    which its tower answered `wanted`."""

    def answer(path: Path) -> Floats:
        weights = dict.fromkeys(weights_beside(path))
        runner = OnnxRunner(path, threads=options.threads, weights=weights)
        count = len(wanted)
        batches = [{k: v[i : i + MAX_BATCH] for k, v in given.items()} for i in range(0, count, MAX_BATCH)]
        return np.concatenate([runner.run(batch)[EMBEDDING] for batch in batches])

    right = answer(single)
    difference = check_single(name, wanted, right)
    refused: list[Kept] = []
    for precision in PRECISIONS:
        quantise(single, target, precision, options.largest_graph)
        kept = compare(precision, right, answer(target))
        if kept.enough:
            return Parity(len(wanted), difference, kept, tuple(refused))
        refused.append(kept)
    raise InferenceError(f"{name}: the graph answers otherwise, though its weights are as they were.")


def _tokens(model: BoundModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask of every prompt."""
    encoded = model.tokenizer.encode_batch(list(prompt_texts(drafts(tuple(model.recipe.modalities)))))
    ids = np.array([e.ids for e in encoded], dtype=np.int64)
    return ids, np.array([e.attention_mask for e in encoded], dtype=np.int64)


def _text_encoder(model: BoundModel, folder: Path, options: Options) -> tuple[OnnxRunner, TextEncoder]:
    model.tokenizer.save(str(folder / TOKENIZER_FILE))
    described = _describe_text(model, folder)
    runner = _runner(folder, described, options)
    tokenizer = load_tokenizer(folder / TOKENIZER_FILE, described.max_tokens)
    return runner, TextEncoder(runner, tokenizer, described)


def _describe_text(model: BoundModel, folder: Path) -> Text:
    return Text(
        file=TEXT_FILE,
        tokenizer=TOKENIZER_FILE,
        max_tokens=model.recipe.text.max_tokens,
        weights=_beside(folder, TEXT_FILE),
    )


def _judge(
    model: BoundModel,
    modality: str,
    encoder: Encoder,
    runner: OnnxRunner,
    text: TextEncoder,
    scope: ScopeEntry,
    say: Say,
    options: Options,
) -> Judged:
    """Embed the data of one modality; calibrate on `calib`, measure on `val`."""

    def embed(found: Sequence[Example], what: str) -> tuple[list[Example], ViewVectors]:
        kept = spread(found, options.most_examples or len(found))
        say(f"Embedding {modality} {what}: {len(kept)}")
        return kept, encode_examples(kept, encoder, runner, model.recipe.dimension)

    calib_examples, calib = embed(examples(model.recipe, modality, CHOSEN_ON), CHOSEN_ON)
    held_out, val = embed(examples(model.recipe, modality, SPLIT), SPLIT)
    _, strangers = embed(out_of_scope_examples(model.recipe, modality), "strangers")

    draft = drafts([modality])
    texts = prompt_texts(draft)
    anchors = make_anchors(draft, texts, text.embed(texts))
    margins = sample_margins(calib.embeddings, anchors)
    taught = [*examples(model.recipe, modality, "train"), *examples(model.recipe, modality, "calib")]
    calibrated = tuple(
        calibrate(
            entry,
            encoder,
            margins[:, column],
            label_vector(calib_examples, entry.id),
            [example.group for example in calib_examples],
            [example.dataset for example in calib_examples],
            prevalence_of(label_vector(taught, entry.id), [example.dataset for example in taught]),
        )
        for column, entry in enumerate(draft)
    )
    say(f"Measuring {modality}")
    known = Knowledge(
        tuple(each.entry for each in calibrated), anchors, encoder.pooling, ScopeStatistics.of(scope)
    )
    aucs = measure_aucs(held_out, val.embeddings, known)
    known = replace(known, findings=_switched(calibrated, aucs))
    figures = measure_findings(held_out, val, encoder, known, aucs)
    silent = measure_silent(
        findings_of(modality), held_out, val.embeddings, lambda texts: text.embed(texts).astype(np.float64)
    )
    slices = cancer_slices(data_root()) if encoder.reader == "ct" else []
    return Judged(
        findings=tuple(
            sealed(entry, figure, each.target)
            for entry, figure, each in zip(known.findings, figures, calibrated, strict=True)
        ),
        calibrated=calibrated,
        scope=scope,
        figures=figures,
        silent=silent,
        slices=measure_slices(slices, modality, encoder, runner, known),
        scope_figures=measure_scope(modality, known, val, strangers),
        duplicates=_trained_on(model, modality),
    )


def _switched(
    calibrated: Sequence[Calibrated], aucs: Sequence[tuple[int, Estimate | None]]
) -> tuple[FindingEntry, ...]:
    """Each entry with whether it is on."""
    entries = []
    for each, (positives, auc) in zip(calibrated, aucs, strict=True):
        reason = why_off(auc, positives, each.trouble)
        switched = {"enabled": reason is None, "disabled_because": reason}
        entries.append(each.entry.model_copy(update=switched))
    return tuple(entries)


def _trained_on(model: BoundModel, modality: str) -> tuple[tuple[str, str], ...]:
    known = [*examples(model.recipe, modality, "train"), *examples(model.recipe, modality, "calib")]
    return duplicates(examples(model.recipe, modality, SPLIT), known)


def _seal(
    model: BoundModel,
    encoders: dict[str, Encoder],
    judged: Mapping[str, Judged],
    parity: dict[str, Parity],
    folder: Path,
    options: Options,
) -> Manifest:
    findings = tuple(entry for each in judged.values() for entry in each.findings)
    scopes = {modality: each.scope for modality, each in judged.items()}
    (folder / "findings.json").write_text(
        FindingsFile(findings=findings).model_dump_json(indent=1) + "\n", "utf-8"
    )
    (folder / "scope.json").write_text(ScopeFile(modalities=scopes).model_dump_json() + "\n", "utf-8")
    facts = CardFacts(
        recipe=model.recipe,
        version=options.version or model.recipe.version,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=model.commit or "unknown",
        sealed_by=commit_of_code(),
        notes=options.notes,
        data=model.data,
        findings=findings,
        calibrated=tuple(one for each in judged.values() for one in each.calibrated),
        figures=tuple(figure for each in judged.values() for figure in each.figures),
        silent=tuple(figure for each in judged.values() for figure in each.silent),
        slices=tuple(figure for each in judged.values() for figure in each.slices),
        scope=tuple(each.scope_figures for each in judged.values()),
        parity=parity,
        duplicates=tuple(pair for each in judged.values() for pair in each.duplicates),
    )
    (folder / "MODEL_CARD.md").write_text(model_card(facts), "utf-8")
    manifest = Manifest(
        format=FORMAT,
        name=model.recipe.name,
        version=facts.version,
        description=DESCRIPTION,
        dimension=model.recipe.dimension,
        files=digests(folder),
        encoders=encoders,
        text=_describe_text(model, folder),
        selftest=SelfTest(min_cosine=MIN_COSINE),
        provenance=Provenance(
            created=facts.created,
            commit=facts.commit,
            data=facts.data,
            recipe=model.recipe.model_dump(mode="json"),
            metrics={
                "sealed_by": facts.sealed_by,
                "findings": [asdict(each) for each in facts.figures],
                "without_code": [asdict(each) for each in facts.silent],
                "slices": [asdict(each) for each in facts.slices],
                "scope": [asdict(each) for each in facts.scope],
                "parity": {name: asdict(each) for name, each in parity.items()},
            },
        ),
    )
    write_manifest(folder, manifest)
    return manifest
