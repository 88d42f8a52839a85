"""Opens a sealed bundle as a node would, and asks its encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dicom_node.bundle.manifest import Encoder, Text
from dicom_node.bundle.store import Bundle, open_bundle
from dicom_node.findings.scope import ScopeStatistics, check_width
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import EMBEDDING, IMAGE_INPUT, SIGNATURE
from dicom_node.inference.selftest import TEXT, check_encoder, check_sealed, check_text, read_selftest
from dicom_node.inference.texts import TextEncoder, load_tokenizer
from dicom_node.pixels.ops import compile_operations
from dicom_node.records import ViewVectors


@dataclass(frozen=True, slots=True, eq=False)
class Verified:
    """A bundle that passed."""

    bundle: Bundle
    lowest_cosine: dict[str, float]
    """Of the self-test, by graph."""


def open_runner(bundle: Bundle, part: Encoder | Text, threads: int) -> OnnxRunner:
    """One encoder of an opened bundle, on the CPU, with the weights that lie beside it."""
    listed = bundle.manifest.files
    weights = {bundle.path(name): listed[name] for name in part.weights}
    return OnnxRunner(bundle.path(part.file), threads=threads, sha256=listed[part.file], weights=weights)


def verify(folder: Path, threads: int = 0) -> Verified:
    """Every digest, every rule of the format, every encoder on the CPU. Raises BundleError."""
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    sealed = read_selftest(bundle.path(manifest.selftest.file))
    check_sealed(manifest, sealed)
    least = manifest.selftest.min_cosine
    cosines = {}
    for modality, encoder in manifest.encoders.items():
        compile_operations(encoder.preprocess)
        runner = open_runner(bundle, encoder, threads)
        cosines[modality] = check_encoder(modality, runner, sealed, least, evidence=encoder.evidence)
        if modality in bundle.scope:
            answer = runner.run({IMAGE_INPUT: sealed[f"{modality}.input"]})
            vectors = ViewVectors(answer[EMBEDDING], None, answer.get(SIGNATURE))
            check_width(modality, vectors, ScopeStatistics.of(bundle.scope[modality]))
    runner = open_runner(bundle, manifest.text, threads)
    tokenizer = load_tokenizer(bundle.path(manifest.text.tokenizer), manifest.text.max_tokens)
    cosines[TEXT] = check_text(TextEncoder(runner, tokenizer, manifest.text), runner, sealed, least)
    return Verified(bundle, cosines)
