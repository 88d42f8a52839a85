from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper

from dicom_node.inference.protocol import EMBEDDING, IMAGE_INPUT, SIGNATURE
from export.signature import LinearMap, WithFeatures, scope_features, signal_features, write_signature
from m3bind.towers.waveform import WaveformTower

pytestmark = pytest.mark.train


def tower() -> WaveformTower:
    torch.manual_seed(1)
    return WaveformTower(16, [8, 12], 3, 0.0).eval()


def record(count: int = 3) -> np.ndarray:
    """(N, 12, 200) whose limb leads obey the laws that bind them."""
    values = np.random.default_rng(0).standard_normal((count, 12, 200)).astype(np.float32)
    one, two = values[:, 0], values[:, 1]
    values[:, 2:6] = np.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2], axis=1)
    return values


def test_the_wrapped_tower_answers_as_before_and_with_its_features() -> None:
    model, given = tower(), torch.from_numpy(record())
    with torch.no_grad():
        embedding, evidence, features = WithFeatures(model)(given)
        wanted, places = model(given)
        pooled = model.pooled(model.lower(given))
    torch.testing.assert_close(embedding, wanted)
    torch.testing.assert_close(evidence, places)
    # Nothing is frozen, so the lower map is the signal: mean and deviation of each lead, pooled, signal.
    assert features.shape == (3, 2 * 12 + model.features + 5 * 12 + 5)
    torch.testing.assert_close(features[:, :12], given.mean(dim=2))
    torch.testing.assert_close(features[:, 12:24], given.std(dim=2, correction=0))
    torch.testing.assert_close(features[:, 24 : 24 + model.features], pooled)


def graph_with_features(path: Path) -> None:
    """`signature` are twice the input, which something else uses too."""
    given = helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.FLOAT, ["N", 3])
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", 3]) for n in (EMBEDDING, SIGNATURE)]
    nodes = [
        helper.make_node("Add", [IMAGE_INPUT, IMAGE_INPUT], [SIGNATURE]),
        helper.make_node("Neg", [SIGNATURE], [EMBEDDING]),
    ]
    graph = helper.make_graph(nodes, "g", [given], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def test_the_map_is_written_behind_the_features(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(5), tmp_path / "graph.onnx"
    graph_with_features(path)
    linear = LinearMap(
        rng.standard_normal((3, 7)).astype(np.float32), rng.standard_normal(7).astype(np.float32)
    )
    write_signature(path, linear)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [EMBEDDING, SIGNATURE]
    given = rng.standard_normal((5, 3)).astype(np.float32)
    embedding, signature = session.run([EMBEDDING, SIGNATURE], {IMAGE_INPUT: given})
    np.testing.assert_allclose(embedding, -2 * given)
    np.testing.assert_allclose(signature, linear(2 * given), rtol=1e-5)


def test_limb_leads_that_break_their_laws_are_told() -> None:
    true = torch.from_numpy(record())
    turned = true.clone()
    turned[:, 2] *= -1
    laws = slice(60, 64)
    assert (signal_features(true)[:, laws] < -8).all()
    assert (signal_features(turned)[:, 60] > -2).all()


def test_a_flat_lead_gives_finite_numbers() -> None:
    given = torch.zeros(2, 12, 100)
    assert torch.isfinite(signal_features(given)).all()
    assert torch.isfinite(scope_features(tower(), given)).all()
