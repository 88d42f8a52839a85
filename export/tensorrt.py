"""Engines of TensorRT for one kind of GPU, built ahead through ONNX Runtime's provider.

An engine is compiled for one GPU model and one version of TensorRT; it takes minutes, in which a node would
answer nothing. So it is made here, with its timing cache, and the node only reads it
(`[inference] tensorrt_engines`). Half precision changes embeddings a little: what an engine answers is
measured against the bundle's self-test before it is kept.

Not tried on a GPU so far: where this was written there was none. What is tried is everything before the
provider is started, and the error where it is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from dicom_node.bundle.manifest import Encoder
from dicom_node.bundle.store import Bundle
from dicom_node.errors import ConfigError
from dicom_node.inference.onnx import OnnxRunner
from dicom_node.inference.protocol import IMAGE_INPUT
from dicom_node.inference.selftest import check_encoder, read_selftest
from dicom_node.inference.tensorrt import (
    BATCHES,
    CACHE_FILE,
    LEAST_COSINE,
    TENSORRT,
    describe_engines,
    encoder_digests,
    engine_options,
    machine,
    profile_options,
)
from export.encode import Say


def build_engines(
    bundle: Bundle, out: Path, say: Say, available: Sequence[str] | None = None
) -> dict[str, float]:
    """Build the engines of every image encoder into the folder `out`; tells by modality the least cosine to
    the sealed outputs. The text encoder stays as it is: it is asked once for each prompt and search.

    Raises ConfigError where this installation has no TensorRT provider, the provider does not start (no GPU,
    or no driver), or `out` is not empty; BundleSelfTestError where half precision answers otherwise.
    """
    require_provider(onnxruntime.get_available_providers() if available is None else available)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is not an empty folder. Give another --out, or remove it.")
    sealed = read_selftest(bundle.path(bundle.manifest.selftest.file))
    out.parent.mkdir(parents=True, exist_ok=True)
    cosines = {}
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as scratch:
        folder = Path(scratch) / "engines"
        for modality, encoder in bundle.manifest.encoders.items():
            say(f"Building the engine of {modality}")
            runner = _started(bundle, encoder, folder)
            for batch in BATCHES:
                runner.run({IMAGE_INPUT: np.zeros((batch, *encoder.input_shape), dtype=np.float32)})
            cosines[modality] = check_encoder(
                modality, runner, sealed, LEAST_COSINE, evidence=encoder.evidence
            )
        told = describe_engines(encoder_digests(bundle.manifest), machine(onnxruntime.__version__), cosines)
        (folder / CACHE_FILE).write_text(told, "utf-8")
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return cosines


def require_provider(available: Sequence[str]) -> None:
    """Raises ConfigError where ONNX Runtime has no TensorRT."""
    if TENSORRT not in available:
        raise ConfigError(
            f"This ONNX Runtime has no {TENSORRT}, only {', '.join(available)}. On a machine with an NVIDIA "
            "GPU install m3bind-pacs[gpu] instead of [cpu], and TensorRT beside it (pip install tensorrt)."
        )


def _started(bundle: Bundle, part: Encoder, folder: Path) -> OnnxRunner:
    folder.mkdir(parents=True, exist_ok=True)
    profile = profile_options(IMAGE_INPUT, part.input_shape, BATCHES)
    listed = bundle.manifest.files
    runner = OnnxRunner(
        bundle.path(part.file),
        (TENSORRT, "CUDAExecutionProvider", "CPUExecutionProvider"),
        sha256=listed[part.file],
        weights={bundle.path(name): listed[name] for name in part.weights},
        provider_options={TENSORRT: engine_options(folder) | profile},
    )
    if TENSORRT not in runner.providers:
        raise ConfigError(
            f"{TENSORRT} is installed but did not start: is there an NVIDIA GPU, its driver, and the "
            "TensorRT library that this ONNX Runtime was built for? `nvidia-smi` shows the first two."
        )
    return runner
