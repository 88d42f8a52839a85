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

from dicom_node.errors import BundleFormatError, BundleSelfTestError
from dicom_node.inference.protocol import (
    EMBEDDING,
    IMAGE_INPUT,
    MASK_INPUT,
    TOKEN_INPUT,
    Array,
    Runner,
    as_floats,
)
from dicom_node.inference.texts import TextEncoder

TEXT = "text"


def read_selftest(path: Path) -> dict[str, Array]:
    """The sealed inputs and outputs by name. Raises BundleFormatError; never unpickles."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise BundleFormatError(f"{path.name} is not an archive of plain arrays: {error}.") from error


def check_encoder(modality: str, runner: Runner, sealed: Mapping[str, Array], min_cosine: float) -> float:
    """The least cosine between this machine's embeddings and the sealed ones.

    Raises BundleSelfTestError below `min_cosine`.
    """
    given, expected = _pair(sealed, f"{modality}.input", f"{modality}.embedding")
    return _compare(modality, runner.run({IMAGE_INPUT: given})[EMBEDDING], expected, min_cosine)


def check_text(encoder: TextEncoder, runner: Runner, sealed: Mapping[str, Array], min_cosine: float) -> float:
    """Likewise for the text encoder; the tokens of the sealed strings must be the very same."""
    strings, expected = _pair(sealed, f"{TEXT}.strings", f"{TEXT}.embedding")
    sealed_ids, sealed_mask = _pair(sealed, f"{TEXT}.input_ids", f"{TEXT}.attention_mask")
    ids, mask = encoder.tokenize([str(string) for string in strings])
    if not (np.array_equal(ids, sealed_ids) and np.array_equal(mask, sealed_mask)):
        raise BundleSelfTestError(
            "Self-test: the tokenizer cuts the sealed strings into other tokens here. "
            "Install the version of `tokenizers` that the project asks for."
        )
    return _compare(TEXT, runner.run({TOKEN_INPUT: ids, MASK_INPUT: mask})[EMBEDDING], expected, min_cosine)


def _pair(sealed: Mapping[str, Array], first: str, second: str) -> tuple[Array, Array]:
    for name in (first, second):
        if name not in sealed:
            raise BundleFormatError(f"The self-test holds no {name}. Export the bundle again.")
    return sealed[first], sealed[second]


def _compare(name: str, answer: Array, expected: Array, min_cosine: float) -> float:
    if answer.shape != expected.shape:
        raise BundleSelfTestError(
            f"Self-test of {name}: the encoder answers with shape {list(answer.shape)}, "
            f"sealed was {list(expected.shape)}. Export the bundle again."
        )
    lowest = float(np.min(_cosines(as_floats(answer), as_floats(expected))))
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
    told = json.dumps([digest, onnxruntime_version, list(providers), cpu])
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
