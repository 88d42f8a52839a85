"""Engines of TensorRT that were built ahead (`m3bind-export tensorrt`), and the options that read them.

TensorRT compiles a model for the very GPU it finds, for minutes. A node must not do that unasked: without a
folder of engines it passes TensorRT over, and with one that was made of another bundle or for another ONNX
Runtime it says so and does not start.

Names of options: onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dicom_node.errors import ConfigError

TENSORRT = "TensorrtExecutionProvider"
BATCHES = (1, 8, 16)
"""Least, usual and most samples of one call, for which an engine is tuned; the last is MAX_BATCH."""
LEAST_COSINE = 0.999
"""Of half precision to the sealed outputs, where the bundle asks for more of single precision."""
CACHE_FILE = "engines.json"
"""Of which bundle and ONNX Runtime the engines in this folder are."""


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


def check_engines(folder: Path, digest: str, version: str) -> None:
    """Whether the engines in `folder` are of the bundle `digest` and of ONNX Runtime `version`.

    Raises ConfigError where they are not, or there are none.
    """
    again = f"Build them with: m3bind-export tensorrt BUNDLE --out {folder}"
    try:
        told = json.loads((folder / CACHE_FILE).read_text("utf-8"))
    except OSError:
        raise ConfigError(f"inference.tensorrt_engines: {folder} holds no engines. {again}") from None
    except ValueError as error:
        raise ConfigError(f"inference.tensorrt_engines: {folder / CACHE_FILE} is broken. {again}") from error
    for key, wanted in (("bundle", digest), ("onnxruntime", version)):
        if told.get(key) != wanted:
            raise ConfigError(
                f"inference.tensorrt_engines: those in {folder} are of {key} {str(told.get(key))[:12]}, "
                f"here is {wanted[:12]}. {again}"
            )


def engine_files(folder: Path) -> frozenset[str]:
    """Names of all engines below `folder`: one that appears at start was built then."""
    return frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*.engine"))
