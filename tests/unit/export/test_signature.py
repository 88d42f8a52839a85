from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("torch", reason="needs the train extra")

import torch

from dicom_node.inference.protocol import EMBEDDING, EVIDENCE, IMAGE_INPUT, SIGNATURE
from export.graphs import export_tower
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


def test_the_graph_answers_with_the_map_of_the_features_and_the_rest_as_before(tmp_path: Path) -> None:
    model, given, graph = tower(), record(), tmp_path / "ecg.onnx"
    outputs = export_tower(WithFeatures(model), (12, 200), graph, (SIGNATURE,))
    assert outputs == (EMBEDDING, EVIDENCE, SIGNATURE)
    with torch.no_grad():
        embedding, evidence = model(torch.from_numpy(given))
        features = scope_features(model, torch.from_numpy(given)).numpy()
    rng = np.random.default_rng(5)
    linear = LinearMap(
        rng.standard_normal((features.shape[1], 7)).astype(np.float32),
        rng.standard_normal(7).astype(np.float32),
    )
    write_signature(graph, linear)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == [EMBEDDING, EVIDENCE, SIGNATURE]
    answer = session.run([EMBEDDING, EVIDENCE, SIGNATURE], {IMAGE_INPUT: given})
    np.testing.assert_allclose(answer[0], embedding.numpy(), atol=1e-5)
    np.testing.assert_allclose(answer[1], evidence.numpy(), atol=1e-5)
    np.testing.assert_allclose(answer[2], features @ linear.weight + linear.bias, rtol=1e-3, atol=1e-3)


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
