from collections.abc import Sequence

import numpy as np
import pytest

from dicom_node.errors import BundleFormatError, ConfigError, InferenceError
from dicom_node.inference.onnx import OPTIONS, PREFERRED, OnnxRunner, choose_providers, in_use
from tests.support.bundles import TINY

TENSORRT, CUDA, OPENVINO, CPU = PREFERRED


@pytest.mark.parametrize(
    ("wanted", "available", "expected"),
    [
        (None, [CPU, CUDA, TENSORRT, "AzureExecutionProvider"], (TENSORRT, CUDA, CPU)),
        ([], [CPU, OPENVINO], (OPENVINO, CPU)),
        (["openvino", "cuda"], [CUDA, OPENVINO, CPU], (OPENVINO, CUDA, CPU)),
        (["cuda", "cpu"], [CPU], (CPU,)),
        (["cpu", "cuda"], [CUDA, CPU], (CUDA, CPU)),
        (["CUDAExecutionProvider"], [CUDA, CPU], (CUDA, CPU)),
        (["AzureExecutionProvider"], [CPU, "AzureExecutionProvider"], ("AzureExecutionProvider", CPU)),
    ],
)
def test_the_order_asked_for_with_the_cpu_last(
    wanted: Sequence[str] | None, available: Sequence[str], expected: tuple[str, ...]
) -> None:
    assert choose_providers(wanted, available) == expected


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Unknown execution provider cudda"):
        choose_providers(["cudda"], [CPU])


def test_who_asks_for_a_gpu_alone_is_not_given_the_cpu() -> None:
    with pytest.raises(ConfigError, match="add cpu to the list"):
        choose_providers(["tensorrt", "cuda"], [CPU])


def test_a_provider_that_one_session_did_not_take_is_not_in_use() -> None:
    assert in_use((CUDA, CPU), [(CUDA, CPU), (CUDA, CPU)]) == (CUDA, CPU)
    assert in_use((TENSORRT, CUDA, CPU), [(CUDA, CPU), (CPU,)]) == (CPU,)


def test_this_installation_has_a_cpu() -> None:
    assert choose_providers(None)[-1] == CPU


def test_openvino_is_held_to_single_precision() -> None:
    assert OPTIONS[OPENVINO]["precision"] == "FP32"


def test_runs_and_names_its_outputs() -> None:
    runner = OnnxRunner(TINY / "encoders/xray.onnx", threads=1)
    assert runner.providers == (CPU,)
    for batch in (1, 3):
        answer = runner.run({"input": np.ones((batch, 3, 32, 32), np.float32)})
        assert {name: array.shape for name, array in answer.items()} == {
            "embedding": (batch, 16),
            "evidence": (batch, 4, 4, 16),
        }


@pytest.mark.parametrize(
    "inputs",
    [
        {"input": np.ones((1, 3, 16, 16), np.float32)},
        {"input": np.ones((1, 3, 32, 32), np.float64)},
        {"pixels": np.ones((1, 3, 32, 32), np.float32)},
        {},
    ],
)
def test_what_cannot_be_run_is_an_inference_error(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InferenceError, match="ONNX Runtime could not run"):
        OnnxRunner(TINY / "encoders/xray.onnx", threads=1).run(inputs)


def test_what_is_no_model_is_a_format_error() -> None:
    with pytest.raises(BundleFormatError, match=r"tokenizer\.json cannot be loaded"):
        OnnxRunner(TINY / "tokenizer.json")
