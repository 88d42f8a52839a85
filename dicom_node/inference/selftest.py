"""Whether the encoders answer here as they did where the bundle was sealed.

Other processors, other versions of ONNX Runtime and other execution providers compute slightly other
numbers; a wrong kernel, a driver in half precision or a tokenizer of another version computes wrong ones.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Manifest
from dicom_node.errors import BundleFormatError, BundleSelfTestError, InferenceError
from dicom_node.inference.protocol import (
    EMBEDDING,
    EVIDENCE,
    IMAGE_INPUT,
    MASK_INPUT,
    SIGNATURE,
    TOKEN_INPUT,
    Array,
    Runner,
    as_floats,
)
from dicom_node.inference.texts import TextEncoder

TEXT = "text"
STRINGS = f"{TEXT}.strings"

UNIT_NORM_WITHIN = 1e-3
"""How far from 1 the length of an embedding may be: twice what half precision loses."""

CHECKS = 3
"""Counts the times that this module became stricter: what passed before must pass again."""


def read_selftest(path: Path) -> dict[str, Array]:
    """The sealed inputs and outputs by name. Raises BundleFormatError; never unpickles."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleFormatError(f"{path.name} is not an archive of plain arrays: {error}.") from error


def check_sealed(manifest: Manifest, sealed: Mapping[str, Array]) -> None:
    """Whether the sealed inputs and outputs are those of the encoders that the manifest tells of: at least
    one of each, of its input shape, embeddings (N, dimension) of unit norm, evidence (N, h, w, dimension).

    Raises BundleFormatError.
    """
    for name in (*manifest.encoders, TEXT):
        expected = _sealed(sealed, f"{name}.embedding")
        if expected.ndim != 2 or len(expected) < 1 or expected.shape[1] != manifest.dimension:
            raise BundleFormatError(
                f"The self-test holds embeddings of shape {list(expected.shape)} for {name}; bundle.json "
                f"says that they have dimension {manifest.dimension}. Export the bundle again."
            )
        if not _of_unit_norm(expected):
            raise BundleFormatError(f"The self-test's embeddings of {name} are not of unit norm.")
    for modality, encoder in manifest.encoders.items():
        given, count = _sealed(sealed, f"{modality}.input"), len(sealed[f"{modality}.embedding"])
        if given.shape != (count, *encoder.input_shape):
            raise BundleFormatError(
                f"The self-test holds inputs of shape {list(given.shape)} and {count} embeddings for "
                f"{modality}, whose input_shape is {list(encoder.input_shape)}. Export the bundle again."
            )
        if not encoder.evidence and f"{modality}.evidence" in sealed:
            raise BundleFormatError(
                f"The self-test holds evidence of {modality}, which is said to give none."
            )


def check_encoder(
    modality: str,
    runner: Runner,
    sealed: Mapping[str, Array],
    min_cosine: float,
    *,
    evidence: bool | None = None,
) -> float:
    """The least cosine between this machine's outputs and the sealed ones: embeddings, and evidence and
    signatures where they were sealed. `evidence`: whether there must be some; None takes either.

    Whatever was sealed, the mean of an evidence map must point the way of its embedding. Raises
    BundleSelfTestError below `min_cosine`, and for an output that is missing, of a wrong shape, or an
    embedding not of unit norm.
    """
    given, expected = _sealed(sealed, f"{modality}.input"), _sealed(sealed, f"{modality}.embedding")
    answer = _run(modality, runner, {IMAGE_INPUT: given})
    lowest = _compare(modality, answer[EMBEDDING], expected, min_cosine)
    lowest = min(lowest, _check_signature(modality, answer, sealed, min_cosine))
    found = answer.get(EVIDENCE)
    if evidence is not None and evidence != (found is not None):
        raise BundleSelfTestError(
            f"Self-test of {modality}: bundle.json says that the encoder gives {'an' if evidence else 'no'} "
            f"output {EVIDENCE}, but it gives {'none' if evidence else 'one'}. Export the bundle again."
        )
    wanted = _sealed(sealed, f"{modality}.evidence") if f"{modality}.evidence" in sealed else None
    if found is None:
        if wanted is not None:
            raise BundleSelfTestError(
                f"Self-test of {modality}: evidence was sealed, but there is none here."
            )
        return lowest
    if not _is_map(found, expected):
        raise BundleSelfTestError(
            f"Self-test of {modality}: evidence of shape {list(found.shape)} is no map of vectors of "
            f"dimension {expected.shape[1]} for each of {len(expected)} inputs. Export the bundle again."
        )
    mean = as_floats(found).mean(axis=(1, 2))
    lowest = min(lowest, _lowest(f"{modality}, mean evidence", mean, as_floats(expected), min_cosine))
    if wanted is not None:
        lowest = min(lowest, _compare(f"{modality}, evidence", found, wanted, min_cosine, unit_norm=False))
    return lowest


def _check_signature(
    modality: str, answer: Mapping[str, Array], sealed: Mapping[str, Array], min_cosine: float
) -> float:
    """The least cosine of the signatures, 1 where none was sealed."""
    name = f"{modality}.{SIGNATURE}"
    if name not in sealed:
        return 1.0
    if SIGNATURE not in answer:
        raise BundleSelfTestError(
            f"Self-test of {modality}: a signature was sealed, but there is none here. "
            "Export the bundle again."
        )
    wanted = _sealed(sealed, name)
    return _compare(f"{modality}, signature", answer[SIGNATURE], wanted, min_cosine, unit_norm=False)


def check_text(encoder: TextEncoder, runner: Runner, sealed: Mapping[str, Array], min_cosine: float) -> float:
    """Likewise for the text encoder; the tokens of the sealed strings must be the very same."""
    strings, expected = _sealed(sealed, STRINGS), _sealed(sealed, f"{TEXT}.embedding")
    sealed_ids, sealed_mask = _sealed(sealed, f"{TEXT}.input_ids"), _sealed(sealed, f"{TEXT}.attention_mask")
    ids, mask = encoder.tokenize([str(string) for string in strings])
    if not (np.array_equal(ids, sealed_ids) and np.array_equal(mask, sealed_mask)):
        raise BundleSelfTestError(
            "Self-test: the tokenizer cuts the sealed strings into other tokens here. "
            "Install the version of `tokenizers` that the project asks for."
        )
    answer = _run(TEXT, runner, {TOKEN_INPUT: ids, MASK_INPUT: mask})
    return _compare(TEXT, answer[EMBEDDING], expected, min_cosine)


def _sealed(sealed: Mapping[str, Array], name: str) -> Array:
    if name not in sealed:
        raise BundleFormatError(f"The self-test holds no {name}. Export the bundle again.")
    if name != STRINGS and sealed[name].dtype.kind not in "fi":
        raise BundleFormatError(f"The self-test's {name} holds no numbers. Export the bundle again.")
    return sealed[name]


def _run(name: str, runner: Runner, inputs: Mapping[str, Array]) -> dict[str, Array]:
    try:
        answer = runner.run(inputs)
    except InferenceError as error:
        raise BundleSelfTestError(f"Self-test of {name}: {error}") from error
    if EMBEDDING not in answer:
        raise BundleSelfTestError(
            f"Self-test of {name}: the encoder has no output {EMBEDDING}. Export the bundle again."
        )
    return answer


def _is_map(evidence: Array, embeddings: Array) -> bool:
    """Whether `evidence` is (N, h, w, D) beside `embeddings` (N, D), with at least one cell."""
    return (
        evidence.ndim == 4
        and (evidence.shape[0], evidence.shape[3]) == embeddings.shape
        and min(evidence.shape) > 0
    )


def _of_unit_norm(embeddings: Array) -> bool:
    """Written so that a NaN is not."""
    lengths = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    return bool(np.all(np.abs(lengths - 1.0) <= UNIT_NORM_WITHIN))


def _compare(
    name: str, answer: Array, expected: Array, min_cosine: float, *, unit_norm: bool = True
) -> float:
    if answer.shape != expected.shape:
        raise BundleSelfTestError(
            f"Self-test of {name}: the encoder answers with shape {list(answer.shape)}, "
            f"sealed was {list(expected.shape)}. Export the bundle again."
        )
    rows = len(expected)
    lowest = _lowest(
        name, as_floats(answer).reshape(rows, -1), as_floats(expected).reshape(rows, -1), min_cosine
    )
    if unit_norm and not _of_unit_norm(answer):
        raise BundleSelfTestError(
            f"Self-test of {name}: the encoder's embeddings are not of unit norm. Export the bundle again."
        )
    return lowest


def _lowest(
    name: str, answer: NDArray[np.float32], expected: NDArray[np.float32], min_cosine: float
) -> float:
    lowest = float(np.min(_cosines(answer, expected)))
    # Written so that a NaN fails.
    if not lowest >= min_cosine:
        raise BundleSelfTestError(
            f"Self-test of {name}: cosine {lowest:.5f} to the sealed outputs, {min_cosine} is needed. "
            "Try the CPU provider alone; if that passes, the accelerator's driver or precision is at fault."
        )
    return lowest


def _cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.asarray((x * y).sum(axis=1) / np.maximum(lengths, 1e-12))


def surroundings(digest: str, onnxruntime_version: str, providers: tuple[str, ...], cpu: str) -> str:
    """A short name for everything that a passed self-test depends on; another one asks for a new test."""
    told = json.dumps([CHECKS, digest, onnxruntime_version, list(providers), cpu])
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """What tells this processor's arithmetic from another's: model and instruction sets of its first core.
    Empty where the system does not say."""
    try:
        first = cpuinfo.read_text().split("\n\n", 1)[0]
    except OSError:
        return ""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
    lines = (line.partition(":") for line in first.splitlines())
    return "; ".join(f"{key.strip()}={value.strip()}" for key, _, value in lines if key.strip() in wanted)
