from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the train extra")
from onnx import TensorProto, helper, load, numpy_helper, save

from dicom_node.errors import BundleFormatError
from dicom_node.inference.onnx import OnnxRunner
from export.large import weights_beside
from export.quantise import LEVELS, PRECISIONS, Precision, quantise, to_int8

pytestmark = pytest.mark.train


def everything(path: Path) -> dict[str, np.ndarray]:
    """A graph with each kind of weight; the convolution's has channels of very different size."""
    rng = np.random.default_rng(7)
    conv = rng.standard_normal((32, 16, 3, 3)) * np.logspace(-3, 1, 32)[:, None, None, None]
    weights = {
        "conv": conv.astype(np.float32),
        "small": rng.standard_normal((32, 1, 3, 3)).astype(np.float32),
        "product": rng.standard_normal((32, 160)).astype(np.float32),
        "gemm": rng.standard_normal((64, 160)).astype(np.float32),
        "words": rng.standard_normal((200, 64)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "conv"], ["c"]),
        helper.make_node("Conv", ["c", "small"], ["d"], group=32),
        helper.make_node("GlobalAveragePool", ["d"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("MatMul", ["f", "product"], ["m"]),
        helper.make_node("Gemm", ["m", "gemm"], ["embedding"], transB=1),
        helper.make_node("Gather", ["words", "ids"], ["looked_up"]),
    ]
    graph = helper.make_graph(
        nodes,
        "everything",
        [
            helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 16, 8, 8]),
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", "L"]),
        ],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 64]),
            helper.make_tensor_value_info("looked_up", TensorProto.FLOAT, ["N", "L", 64]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return {
        "input": rng.standard_normal((3, 16, 8, 8)).astype(np.float32),
        "ids": np.array([[0, 5], [199, 7], [1, 1]], dtype=np.int64),
    }


def test_large_weights_become_int8_and_answers_stay(tmp_path: Path) -> None:
    given = everything(tmp_path / "single.onnx")
    quantise(tmp_path / "single.onnx", tmp_path / "small.onnx")
    kinds = {t.name: t.data_type for t in load(tmp_path / "small.onnx").graph.initializer}
    assert kinds["conv_int8"] == kinds["product_int8"] == kinds["gemm_int8"] == TensorProto.INT8
    assert kinds["words_int8"] == TensorProto.INT8
    assert kinds["small"] == TensorProto.FLOAT
    assert "conv" not in kinds
    single, small = (OnnxRunner(tmp_path / f"{n}.onnx", threads=1).run(given) for n in ("single", "small"))
    for name in ("embedding", "looked_up"):
        a, b = single[name].reshape(3, -1), small[name].reshape(3, -1)
        cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosine.min() > 0.9995
        assert not np.array_equal(a, b)
    assert (tmp_path / "small.onnx").stat().st_size < 0.4 * (tmp_path / "single.onnx").stat().st_size


def test_each_channel_has_its_own_scale() -> None:
    weight = np.array([[100.0, -50.0], [0.001, 0.0005]], dtype=np.float32)
    small, scale = to_int8(weight, 0)
    assert scale.shape == (2, 1)
    np.testing.assert_allclose(small * scale, weight, rtol=0.01)


def test_the_error_is_below_half_a_step_of_the_full_scale() -> None:
    weight = np.random.default_rng(8).uniform(-1, 1, (4, 50, 3)).astype(np.float32)
    small, scale = to_int8(weight, 0)
    step = np.abs(weight).max(axis=(1, 2), keepdims=True) / LEVELS
    plain = np.round(weight / step) * step
    assert ((small * scale - weight) ** 2).sum() <= ((plain - weight) ** 2).sum() * (1 + 1e-6)


def test_a_channel_of_zeros_stays_zero() -> None:
    small, scale = to_int8(np.zeros((2, 3), np.float32), 1)
    assert not small.any()
    assert np.isfinite(scale).all()


def test_half_precision_keeps_more_and_single_all(tmp_path: Path) -> None:
    given = everything(tmp_path / "single.onnx")
    right = OnnxRunner(tmp_path / "single.onnx", threads=1).run(given)
    errors = []
    for precision in PRECISIONS:
        quantise(tmp_path / "single.onnx", tmp_path / f"{precision}.onnx", precision)
        answer = OnnxRunner(tmp_path / f"{precision}.onnx", threads=1).run(given)
        errors.append(max(float(np.abs(answer[name] - right[name]).max()) for name in right))
    assert errors[0] > 5 * errors[1] > 0
    assert errors[2] == 0
    kinds = {t.name: t.data_type for t in load(tmp_path / "float16.onnx").graph.initializer}
    assert kinds["conv_float16"] == kinds["words_float16"] == TensorProto.FLOAT16
    sizes = [(tmp_path / f"{precision}.onnx").stat().st_size for precision in PRECISIONS]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_graph_too_large_for_one_file_keeps_its_weights_beside(
    tmp_path: Path, precision: Precision
) -> None:
    given = everything(tmp_path / "single.onnx")
    small, large = tmp_path / "small.onnx", tmp_path / "large.onnx"
    quantise(tmp_path / "single.onnx", small, precision)
    for _ in range(2):  # writing again must not grow the file
        quantise(tmp_path / "single.onnx", large, precision, largest=1000)
    assert weights_beside(small) == ()
    (beside,) = weights_beside(large)
    assert beside == tmp_path / "large.onnx.weights"
    assert large.stat().st_size < 0.3 * small.stat().st_size
    assert beside.stat().st_size < small.stat().st_size
    with pytest.raises(BundleFormatError, match=r"large\.onnx\.weights"):
        OnnxRunner(large, threads=1)
    answers = [
        OnnxRunner(path, threads=1, weights=dict.fromkeys(weights_beside(path))).run(given)
        for path in (small, large)
    ]
    for name, array in answers[0].items():
        np.testing.assert_array_equal(array, answers[1][name])
    quantise(large, tmp_path / "again.onnx", "float32")
    assert weights_beside(tmp_path / "again.onnx") == ()
