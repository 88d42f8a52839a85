"""Engines of TensorRT that were built ahead (`m3bind-export tensorrt`), and the options that read them.

TensorRT compiles a model for the very GPU it finds, for minutes. A node must not do that unasked: without a
folder of engines it passes TensorRT over, and with one that was made of other encoders, or for another GPU,
driver, TensorRT or ONNX Runtime, it says so and does not start.

Names of options: onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from dicom_node.bundle.manifest import Manifest
from dicom_node.errors import ConfigError

TENSORRT = "TensorrtExecutionProvider"
BATCHES = (1, 8, 16)
"""Least, usual and most samples of one call, for which an engine is tuned; the last is MAX_BATCH."""
LEAST_COSINE = 0.999
"""Of half precision to the sealed outputs, where the bundle asks for more of single precision."""
CACHE_FILE = "engines.json"
"""Of which encoders the engines in this folder are, and of which machine."""
LIBRARIES = ("libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so")
"""TensorRT's own, newest first."""
_ASK = ("--query-gpu=name,compute_cap,driver_version", "--format=csv,noheader")


def engine_options(folder: Path) -> dict[str, str]:
    """Half precision, engine and timing cache in `folder`: what built an engine must also read it, as the
    options are part of its name."""
    return {
        "trt_fp16_enable": "1",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }


def profile_options(name: str, sample: Sequence[int], batches: Sequence[int]) -> dict[str, str]:
    """The profile an engine is tuned for, as the provider wants it told: least, usual and most samples of
    shape `sample` at the input `name`."""
    keys = ("trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes")
    return {
        key: f"{name}:{'x'.join(str(size) for size in (batch, *sample))}"
        for key, batch in zip(keys, batches, strict=True)
    }


def encoder_digests(manifest: Manifest) -> dict[str, str]:
    """sha256 of each encoder by modality, over the graph and the files with its weights: thresholds and
    prompts of a bundle may change without a new engine."""
    return {
        modality: hashlib.sha256(
            "".join(manifest.files[name] for name in (part.file, *part.weights)).encode()
        ).hexdigest()
        for modality, part in manifest.encoders.items()
    }


def machine(onnxruntime_version: str, nvidia_smi: str = "nvidia-smi") -> dict[str, str]:
    """What an engine depends on beside the encoder: GPU with its compute capability, driver, TensorRT, ONNX
    Runtime. "none" where the machine does not tell."""
    gpus, drivers = _gpus(nvidia_smi)
    return {
        "gpu": gpus,
        "driver": drivers,
        "tensorrt": _tensorrt_version(LIBRARIES),
        "onnxruntime": onnxruntime_version,
    }


def _gpus(nvidia_smi: str) -> tuple[str, str]:
    """Every kind of GPU here, as "NVIDIA A10 (compute capability 8.6)", and the driver."""
    try:
        told = subprocess.run(  # noqa: S603 # the arguments are constants
            [nvidia_smi, *_ASK], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return "none", "none"
    rows = [[cell.strip() for cell in line.split(",")] for line in told.splitlines()]
    whole = [row for row in rows if len(row) == 3]
    gpus = sorted({f"{name} (compute capability {capability})" for name, capability, _ in whole})
    return "; ".join(gpus) or "none", "; ".join(sorted({driver for _, _, driver in whole})) or "none"


def _tensorrt_version(libraries: Sequence[str]) -> str:
    """What `getInferLibVersion` of the first library that can be loaded tells (NvInferRuntime.h)."""
    for name in libraries:
        try:
            return str(int(ctypes.CDLL(name).getInferLibVersion()))
        except (OSError, AttributeError):
            continue
    return "none"


def describe_engines(
    encoders: Mapping[str, str], here: Mapping[str, str], cosines: Mapping[str, float]
) -> str:
    """What CACHE_FILE holds: `encoder_digests`, `machine`, and the least cosine to the self-test."""
    told = {"encoders": dict(encoders), "machine": dict(here), "cosine": dict(cosines)}
    return json.dumps(told, indent=1) + "\n"


def check_engines(folder: Path, encoders: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Whether the engines in `folder` are of these encoders (`encoder_digests`) and this machine (`machine`).

    Raises ConfigError that names every difference where they are not, or there are none.
    """
    again = (
        f"Build them on this machine with `m3bind-export tensorrt BUNDLE --out {folder}`, "
        "or leave inference.tensorrt_engines out."
    )
    try:
        told = json.loads((folder / CACHE_FILE).read_text("utf-8"))
        theirs, there = dict(told["encoders"]), dict(told["machine"])
    except OSError:
        raise ConfigError(f"inference.tensorrt_engines: {folder} holds no engines. {again}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"inference.tensorrt_engines: {folder / CACHE_FILE} is broken. {again}") from error
    stale = [f"another encoder of {name}" for name, digest in encoders.items() if theirs.get(name) != digest]
    stale += [
        f"{key} {there.get(key, 'unknown')} (here: {value})"
        for key, value in here.items()
        if there.get(key) != value
    ]
    if stale:
        raise ConfigError(
            f"inference.tensorrt_engines: the engines in {folder} were built for {'; '.join(stale)}. {again}"
        )


def engine_files(folder: Path) -> frozenset[str]:
    """Names of all engines below `folder`: one that appears at start was built then."""
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*.engine"))
