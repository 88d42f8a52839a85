import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dicom_node.errors import BundleFormatError, BundleIntegrityError, ConfigError, InferenceError
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


def test_the_bytes_that_run_are_the_sealed_ones() -> None:
    path = TINY / "encoders/xray.onnx"
    OnnxRunner(path, threads=1, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(BundleIntegrityError, match=r"xray\.onnx was changed"):
        OnnxRunner(path, threads=1, sha256="0" * 64)


def test_a_file_that_is_not_there_is_a_format_error(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match=r"none\.onnx cannot be loaded"):
        OnnxRunner(tmp_path / "none.onnx")


def model_of(weights: TensorProto, folder: Path, *, within_a_branch: bool = False) -> Path:
    """x + weights, the weights an initialiser, or a constant of one branch of an If."""
    out = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [4])
    if within_a_branch:
        branches = [
            helper.make_graph([helper.make_node("Constant", [], ["embedding"], value=w)], name, [], [out])
            for name, w in (("yes", weights), ("no", numpy_helper.from_array(np.zeros(4, np.float32), "z")))
        ]
        nodes = [
            helper.make_node("If", ["x"], ["embedding"], then_branch=branches[0], else_branch=branches[1])
        ]
        given = helper.make_tensor_value_info("x", TensorProto.BOOL, [])
        graph = helper.make_graph(nodes, "g", [given], [out])
    else:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])
        nodes = [helper.make_node("Add", ["x", weights.name], ["embedding"])]
        graph = helper.make_graph(nodes, "g", [given], [out], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


def external(folder: Path) -> TensorProto:
    weights = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    onnx.external_data_helper.set_external_data(weights, "w.bin")
    (folder / "w.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    return weights


@pytest.mark.parametrize("within_a_branch", [False, True])
def test_weights_in_another_file_are_refused(tmp_path: Path, within_a_branch: bool) -> None:
    path = model_of(external(tmp_path), tmp_path, within_a_branch=within_a_branch)
    with pytest.raises(BundleFormatError, match="keeps weights in another file"):
        OnnxRunner(path, threads=1)


def test_weights_in_a_file_that_the_bundle_proves_are_run(tmp_path: Path) -> None:
    path, beside = model_of(external(tmp_path), tmp_path), tmp_path / "w.bin"
    digest = hashlib.sha256(beside.read_bytes()).hexdigest()
    runner = OnnxRunner(path, threads=1, weights={beside: digest})
    np.testing.assert_array_equal(runner.run({"x": np.zeros(4, np.float32)})["embedding"], np.arange(4))
    with pytest.raises(BundleIntegrityError, match=r"w\.bin was changed"):
        OnnxRunner(path, threads=1, weights={beside: "0" * 64})
    with pytest.raises(BundleFormatError, match=r"another file \(w\.bin\)"):
        OnnxRunner(path, threads=1, weights={tmp_path / "other.bin": digest})


@pytest.mark.parametrize("within_a_branch", [False, True])
def test_weights_within_the_file_are_run(tmp_path: Path, within_a_branch: bool) -> None:
    weights = numpy_helper.from_array(np.arange(4, dtype=np.float32), "w")
    runner = OnnxRunner(model_of(weights, tmp_path, within_a_branch=within_a_branch), threads=1)
    given = np.array(True) if within_a_branch else np.zeros(4, np.float32)
    np.testing.assert_array_equal(runner.run({"x": given})["embedding"], np.arange(4))
