from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from dicom_node.engine import Engine
from dicom_node.errors import BundleError, BundleFormatError, BundleSelfTestError
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.selftest import check_encoder
from tests.support.bundles import TINY, alter_json, copy_tiny, reseal

Arrays = dict[str, np.ndarray]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copy_tiny(tmp_path / "bundle")


def load(bundle: Path) -> Engine:
    return Engine.load(reseal(bundle), providers=["cpu"], threads=1)


def sealed(bundle: Path = TINY) -> Arrays:
    with np.load(bundle / "selftest.npz", allow_pickle=False) as kept:
        return {name: kept[name] for name in kept.files}


def alter_sealed(bundle: Path, change: Callable[[Arrays], object]) -> None:
    arrays = sealed(bundle)
    change(arrays)
    np.savez(bundle / "selftest.npz", allow_pickle=False, **arrays)


def alter_graph(bundle: Path, change: Callable[[onnx.GraphProto], object]) -> None:
    model = onnx.load(bundle / "encoders/xray.onnx")
    change(model.graph)
    onnx.save_model(model, bundle / "encoders/xray.onnx")


def evidence() -> np.ndarray:
    """(N, h, w, D) of the sealed inputs of the radiograph encoder."""
    return OnnxRunner(TINY / "encoders/xray.onnx", threads=1).run({"input": sealed()["xray.input"]})[
        "evidence"
    ]


def test_a_bundle_without_sealed_evidence_still_loads() -> None:
    assert not any(name.endswith(".evidence") for name in sealed())
    Engine.load(TINY, providers=["cpu"], threads=1)


def test_sealed_evidence_is_compared(bundle: Path) -> None:
    alter_sealed(bundle, lambda arrays: arrays.update({"xray.evidence": evidence()}))
    load(bundle)
    # Exchanging two cells leaves their mean, and so the embedding, as it was.
    alter_sealed(bundle, lambda arrays: arrays.update({"xray.evidence": evidence()[:, ::-1]}))
    with pytest.raises(BundleSelfTestError, match="Self-test of xray, evidence: cosine"):
        load(bundle)


def test_sealed_evidence_of_another_shape(bundle: Path) -> None:
    alter_sealed(bundle, lambda arrays: arrays.update({"xray.evidence": evidence()[:, :2]}))
    with pytest.raises(BundleSelfTestError, match="xray, evidence: the encoder answers with shape"):
        load(bundle)


def test_the_least_cosine_counts_the_evidence() -> None:
    blurred = evidence() + np.float32(0.05) * np.random.default_rng(3).standard_normal(evidence().shape)
    arrays = sealed() | {"xray.evidence": blurred}
    runner = OnnxRunner(TINY / "encoders/xray.onnx", threads=1)
    assert check_encoder("xray", runner, sealed(), 0.5) == pytest.approx(1.0, abs=1e-6)
    assert 0.5 < check_encoder("xray", runner, arrays, 0.5) < 0.9999


def test_another_dimension_is_refused(bundle: Path) -> None:
    alter_json(bundle / "bundle.json", lambda manifest: manifest.update(dimension=8))
    alter_json(bundle / "scope.json", lambda scope: scope.update(modalities={}))
    with pytest.raises(BundleFormatError, match=r"shape \[2, 16\] for xray; .* dimension 8"):
        load(bundle)


def say_evidence(modality: str, given: bool) -> Callable[[Path], None]:
    def tamper(bundle: Path) -> None:
        alter_json(bundle / "bundle.json", lambda m: m["encoders"][modality].update(evidence=given))

    return tamper


def drop_output(name: str) -> Callable[[Path], None]:
    def change(graph: onnx.GraphProto) -> None:
        graph.output.remove(next(output for output in graph.output if output.name == name))

    return lambda bundle: alter_graph(bundle, change)


def end_with(*nodes: onnx.NodeProto, renamed: dict[str, str]) -> Callable[[Path], None]:
    """Rename values within the graph and append nodes that make the outputs out of them."""

    def change(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    names[index] = renamed.get(name, name)
        graph.node.extend(nodes)

    return lambda bundle: alter_graph(bundle, change)


def change_sealed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda b: alter_sealed(b, lambda arrays: arrays.update({name: change(arrays[name])}))


TWICE = end_with(helper.make_node("Add", ["unit", "unit"], ["embedding"]), renamed={"embedding": "unit"})
FROM_ELSEWHERE = end_with(helper.make_node("Neg", ["map0"], ["evidence"]), renamed={"evidence": "map0"})

REFUSED: dict[str, tuple[Callable[[Path], None], type[BundleError], str]] = {
    "evidence denied": (say_evidence("xray", False), BundleSelfTestError, "gives no output evidence, but it"),
    "evidence missing": (
        drop_output("evidence"),
        BundleSelfTestError,
        "an output evidence, but it gives none",
    ),
    "evidence of something else": (FROM_ELSEWHERE, BundleSelfTestError, "xray, mean evidence: cosine -1"),
    "embedding missing": (drop_output("embedding"), BundleSelfTestError, "xray: .* no output embedding"),
    "not of unit norm": (TWICE, BundleSelfTestError, "embeddings are not of unit norm"),
    "sealed not of unit norm": (
        change_sealed("text.embedding", lambda kept: 2 * kept),
        BundleFormatError,
        "embeddings of text are not of unit norm",
    ),
    "nothing sealed": (change_sealed("ct.embedding", lambda kept: kept[:0]), BundleFormatError, "for ct"),
    "one input lost": (
        change_sealed("ct.input", lambda kept: kept[:1]),
        BundleFormatError,
        "2 embeddings for",
    ),
    "other inputs": (
        change_sealed("ct.input", lambda kept: kept[:, :, :16]),
        BundleFormatError,
        r"inputs of shape \[2, 3, 16, 32\] .* \[3, 32, 32\]",
    ),
    "words for numbers": (
        change_sealed("ct.embedding", lambda kept: kept.astype(str)),
        BundleFormatError,
        r"ct\.embedding holds no numbers",
    ),
}


@pytest.mark.parametrize("tampering", REFUSED)
def test_what_does_not_keep_its_word_is_refused(tampering: str, bundle: Path) -> None:
    tamper, kind, reason = REFUSED[tampering]
    tamper(bundle)
    with pytest.raises(kind, match=reason):
        load(bundle)


def test_sealed_evidence_needs_an_encoder_that_gives_some(bundle: Path) -> None:
    alter_sealed(bundle, lambda arrays: arrays.update({"xray.evidence": evidence()}))
    say_evidence("xray", False)(bundle)
    with pytest.raises(BundleFormatError, match="holds evidence of xray, which is said to give none"):
        load(bundle)
