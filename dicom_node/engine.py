"""A loaded bundle, ready to answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from types import MappingProxyType

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Encoder, Text
from dicom_node.bundle.store import Bundle, open_bundle
from dicom_node.errors import BundleSelfTestError, ConfigError, InferenceError, InferenceUnavailableError
from dicom_node.findings.assess import Knowledge, assess
from dicom_node.findings.choice import choose_findings
from dicom_node.findings.prompts import Anchors, make_anchors, prompt_texts
from dicom_node.findings.scope import ScopeStatistics, check_width
from dicom_node.inference.cache import LoadCache
from dicom_node.inference.images import encode_samples
from dicom_node.inference.onnx import OPTIONS, OnnxRunner, choose_providers, in_use
from dicom_node.inference.protocol import EMBEDDING, IMAGE_INPUT, SIGNATURE, LocatedRunner
from dicom_node.inference.remote import ModelServer
from dicom_node.inference.selftest import (
    TEXT,
    check_encoder,
    check_sealed,
    check_text,
    cpu_model,
    read_selftest,
    surroundings,
)
from dicom_node.inference.tensorrt import (
    BATCHES,
    LEAST_COSINE,
    TENSORRT,
    check_engines,
    encoder_digests,
    engine_files,
    engine_options,
    machine,
    profile_options,
)
from dicom_node.inference.texts import TextEncoder, load_tokenizer
from dicom_node.pixels.ops import compile_operations
from dicom_node.records import Assessment, BundleIdentity, StudyRead, View, ViewVectors

log = structlog.get_logger(__name__)


class Engine:
    """Encoders, text encoder and findings of one bundle. Safe to use from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        runners: Mapping[str, LocatedRunner],
        text: _Text,
        anchors: Anchors,
        providers: tuple[str, ...],
        findings: tuple[FindingEntry, ...],
    ) -> None:
        self.bundle = bundle
        self.findings = findings
        """Those that are scored and reported: not all that the bundle knows."""
        self.providers = providers
        """Execution providers in use by every encoder, best first; or the address of the model server."""
        self._runners = runners
        self._text = text
        self._knowledge = _knowledge(bundle, anchors, findings)

    @classmethod
    def load(
        cls,
        bundle_path: Path,
        *,
        providers: Sequence[str] | None = None,
        threads: int = 0,
        cache_dir: Path | None = None,
        tensorrt_engines: Path | None = None,
        server: ModelServer | None = None,
        enable: Collection[str] = (),
        disable: Collection[str] = (),
    ) -> Engine:
        """Open the bundle, prove it, start its encoders, and test them against the sealed outputs.

        `providers`: see `choose_providers`. `threads`: within one operator, 0 for one per core. With a
        `cache_dir` a later load of the same bundle skips the self-test (as long as processor, ONNX Runtime
        and providers stay the same) and the embedding of the prompts. `server`: runs all models instead of
        this process, and is tested at every load, as nobody tells what it serves by then. `enable`,
        `disable`: ids of findings that are reported although, or not reported although, the bundle says
        otherwise.

        Raises BundleError where the bundle cannot be used, ConfigError for a provider not installed and a
        finding not known, InferenceUnavailableError where the server does not answer.
        """
        began = time.perf_counter()
        bundle = open_bundle(bundle_path)
        findings = choose_findings(bundle.findings, enable, disable)
        for encoder in bundle.manifest.encoders.values():
            compile_operations(encoder.preprocess)
        if server is not None:
            used, start, runners = _at_server(bundle, server, tensorrt_engines)
        else:
            used, start, runners = _in_process(bundle, providers, threads, tensorrt_engines)
        text = _Text(bundle, start)
        cache = LoadCache(cache_dir, bundle.identity.digest)
        where = surroundings(bundle.identity.digest, onnxruntime.__version__, used, cpu_model())
        tested = server is not None or not cache.passed(where)
        if tested:
            _self_test(bundle, runners, text, server)
            if server is None:
                cache.keep_passed(where)
        anchors = _anchors(bundle, text, cache)
        log.info(
            "engine_loaded",
            bundle=f"{bundle.identity.name} {bundle.identity.version}",
            digest=bundle.identity.digest[:12],
            modalities=sorted(runners),
            findings=f"{len(findings)} of {len(bundle.findings)}",
            providers=used,
            self_tested=tested,
            seconds=round(time.perf_counter() - began, 3),
        )
        return cls(bundle, MappingProxyType(runners), text, anchors, used, findings)

    @property
    def identity(self) -> BundleIdentity:
        """Which bundle speaks."""
        return self.bundle.identity

    @property
    def encoders(self) -> Mapping[str, Encoder]:
        """By modality id: what the readers need to know."""
        return MappingProxyType(self.bundle.manifest.encoders)

    def encode(self, view: View) -> ViewVectors:
        """The view's vectors. Raises InferenceError."""
        encoder = self.bundle.manifest.encoders.get(view.modality)
        if encoder is None:
            raise InferenceError(f"The bundle has no encoder for modality {view.modality}.")
        values = [sample.values for sample in view.samples]
        return encode_samples(self._runners[view.modality], values, encoder.input_shape)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(N, D) unit-norm, one row per text. Raises InferenceError."""
        return self._text.encoder().embed(texts)

    def assess(self, study_uid: str, read: StudyRead) -> Assessment:
        """Encode and judge one study; `seconds` holds `encode` and `assess`. Raises InferenceError."""
        began = time.perf_counter()
        vectors = [self.encode(view) for view in read.views]
        encoded = time.perf_counter()
        seconds = {"encode": encoded - began, "assess": 0.0}
        assessment = assess(study_uid, read, vectors, self._knowledge, self.identity, seconds)
        assessment.seconds["assess"] = time.perf_counter() - encoded
        return assessment


_Start = Callable[[str, Encoder | Text], LocatedRunner]
"""Starts the model of one part of the bundle, by the part's name."""
_Started = tuple[tuple[str, ...], _Start, dict[str, LocatedRunner]]
"""Where all encoders run, what starts a further model, and the runners of the encoders."""


def _at_server(bundle: Bundle, server: ModelServer, engines: Path | None) -> _Started:
    """All models on `server`."""
    if engines is not None:
        raise ConfigError(
            "inference.url and inference.tensorrt_engines exclude each other: engines are for this machine. "
            "Remove one of the two."
        )

    def start(name: str, part: Encoder | Text) -> LocatedRunner:  # noqa: ARG001 # the server knows it by name
        return server.model(name)

    return (server.url,), start, {name: start(name, part) for name, part in bundle.manifest.encoders.items()}


def _in_process(
    bundle: Bundle, providers: Sequence[str] | None, threads: int, engines: Path | None
) -> _Started:
    """All models in this process, the encoders started side by side."""
    chosen = _with_engines(choose_providers(providers), bundle, engines)
    start = partial(_start, bundle, chosen, threads, engines)
    built_before = frozenset() if engines is None else engine_files(engines)
    parts = bundle.manifest.encoders
    with ThreadPoolExecutor(max_workers=len(parts)) as pool:
        runners = dict(zip(parts, pool.map(start, parts, parts.values()), strict=True))
    if engines is not None and (new := engine_files(engines) - built_before):
        log.warning("tensorrt_engines_built_at_start", engines=sorted(new), folder=str(engines))
    used = in_use(chosen, [runner.providers for runner in runners.values()])
    if used != chosen:
        log.warning("providers_not_started", missing=sorted(set(chosen) - set(used)))
    return used, start, dict(runners)


def _with_engines(providers: tuple[str, ...], bundle: Bundle, engines: Path | None) -> tuple[str, ...]:
    """`providers`, TensorRT among them only where its engines were built ahead for this bundle."""
    if TENSORRT not in providers:
        return providers
    if engines is None:
        log.info("tensorrt_passed_over", reason="inference.tensorrt_engines names no engines")
        return tuple(name for name in providers if name != TENSORRT)
    check_engines(engines, encoder_digests(bundle.manifest), machine(onnxruntime.__version__))
    return providers


def _start(
    bundle: Bundle,
    providers: tuple[str, ...],
    threads: int,
    engines: Path | None,
    name: str,  # noqa: ARG001 # the file is proven by its digest
    part: Encoder | Text,
) -> LocatedRunner:
    """The model of one part of the bundle. TensorRT has engines of encoders only."""
    listed = bundle.manifest.files
    options = dict(OPTIONS)
    if isinstance(part, Encoder) and engines is not None:
        options[TENSORRT] = engine_options(engines) | profile_options(IMAGE_INPUT, part.input_shape, BATCHES)
    else:
        providers = tuple(name for name in providers if name != TENSORRT)
    return OnnxRunner(
        bundle.path(part.file),
        providers,
        threads,
        sha256=listed[part.file],
        weights={bundle.path(name): listed[name] for name in part.weights},
        provider_options=options,
    )


class _Text:
    """The text encoder, started when it is first needed: a warm load has its anchors cached."""

    def __init__(self, bundle: Bundle, start: _Start) -> None:
        self._bundle = bundle
        self._start = start
        self._lock = Lock()
        self._started: tuple[LocatedRunner, TextEncoder] | None = None

    def started(self) -> tuple[LocatedRunner, TextEncoder]:
        with self._lock:
            if self._started is None:
                text = self._bundle.manifest.text
                tokenizer = load_tokenizer(self._bundle.path(text.tokenizer), text.max_tokens)
                runner = self._start(TEXT, text)
                self._started = (runner, TextEncoder(runner, tokenizer, text))
            return self._started

    def encoder(self) -> TextEncoder:
        return self.started()[1]


def _self_test(
    bundle: Bundle, runners: Mapping[str, LocatedRunner], text: _Text, server: ModelServer | None
) -> None:
    """Raises BundleSelfTestError; of a server that is away InferenceUnavailableError."""
    try:
        _compare_with_sealed(bundle, runners, text, server)
    except BundleSelfTestError as error:
        if server is None:
            raise
        if isinstance(error.__cause__, InferenceUnavailableError):
            raise error.__cause__ from None
        raise BundleSelfTestError(
            f"{error} All of it ran on {server.url}: it must serve what `m3bind-export triton` wrote for "
            f"bundle {bundle.identity.name} {bundle.identity.version}, and no other."
        ) from error


def _compare_with_sealed(
    bundle: Bundle, runners: Mapping[str, LocatedRunner], text: _Text, server: ModelServer | None
) -> None:
    test = bundle.manifest.selftest
    sealed = read_selftest(bundle.path(test.file))
    check_sealed(bundle.manifest, sealed)
    # Half precision is the choice of who runs a server; another model misses this by far.
    eased = min(test.min_cosine, LEAST_COSINE)
    cosines = {
        modality: check_encoder(
            modality,
            runner,
            sealed,
            eased if server is not None or TENSORRT in runner.providers else test.min_cosine,
            evidence=bundle.manifest.encoders[modality].evidence,
        )
        for modality, runner in runners.items()
    }
    for modality, entry in bundle.scope.items():
        answer = runners[modality].run({IMAGE_INPUT: sealed[f"{modality}.input"]})
        vectors = ViewVectors(answer[EMBEDDING], None, answer.get(SIGNATURE))
        check_width(modality, vectors, ScopeStatistics.of(entry))
    runner, encoder = text.started()
    cosines["text"] = check_text(encoder, runner, sealed, test.min_cosine if server is None else eased)
    log.info("self_test_passed", lowest_cosine={name: round(value, 6) for name, value in cosines.items()})


def _anchors(bundle: Bundle, text: _Text, cache: LoadCache) -> Anchors:
    ids = tuple(entry.id for entry in bundle.findings)
    dimension = bundle.manifest.dimension
    kept = cache.arrays("anchors")
    if kept is not None:
        anchors = Anchors(tuple(kept["ids"].tolist()), kept["affirmed"], kept["negated"])
        if anchors.ids == ids and anchors.affirmed.shape == anchors.negated.shape == (len(ids), dimension):
            return anchors
    texts = prompt_texts(bundle.findings)
    embeddings = text.encoder().embed(texts) if texts else np.zeros((0, dimension), dtype=np.float32)
    anchors = make_anchors(bundle.findings, texts, embeddings)
    kept_ids = np.array(ids, dtype=np.str_)
    cache.keep_arrays("anchors", ids=kept_ids, affirmed=anchors.affirmed, negated=anchors.negated)
    return anchors


def _knowledge(bundle: Bundle, anchors: Anchors, chosen: Sequence[FindingEntry]) -> dict[str, Knowledge]:
    known = {}
    for modality, encoder in bundle.manifest.encoders.items():
        findings = tuple(entry for entry in chosen if entry.modality == modality)
        entry = bundle.scope.get(modality)
        known[modality] = Knowledge(
            findings=findings,
            anchors=anchors.only([finding.id for finding in findings]),
            pooling=encoder.pooling,
            scope=None if entry is None else ScopeStatistics.of(entry),
        )
    return known
