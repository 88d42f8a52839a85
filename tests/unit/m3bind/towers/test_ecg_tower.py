"""The ECG tower: evidence adds up, mixed precision moves no beat, and ONNX Runtime gives the same."""

import numpy as np
import onnxruntime
import pytest
import torch

from export.graphs import export_tower
from m3bind.towers.ecg import PLACE, EcgTower, shares
from tests.support.synthetic_ecg import fibrillation, sinus

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def tower():
    torch.manual_seed(0)
    return EcgTower(32, 2, 0.3).eval()


@pytest.fixture(scope="module")
def small():
    """One member: the exporter takes its time for every node."""
    torch.manual_seed(0)
    return EcgTower(8, 1, 0.3).eval()


SIGNALS = torch.from_numpy(
    np.stack([sinus(noise=0.02), fibrillation(noise=0.02), np.zeros((12, 1000), "f4")])
)


def test_evidence_adds_up_to_the_embedding(tower):
    with torch.inference_mode():
        embedding, evidence = tower(SIGNALS)
        assert evidence.shape == (3, 1, 50, 32)
        assert torch.allclose(embedding, tower.project(tower.pooled(SIGNALS)), atol=1e-5)
        mean = evidence.mean(dim=(1, 2))
        assert torch.allclose(embedding, mean / mean.norm(dim=1, keepdim=True), atol=1e-5)
    assert torch.isfinite(evidence).all()


def test_evidence_lies_where_the_beats_are(tower):
    with torch.inference_mode():
        reading = tower.read(SIGNALS)
        beats = tower.finder(SIGNALS)
    for share in (reading.shape_share, reading.rhythm_share):
        assert torch.allclose(share.mean(dim=1), torch.ones(3), atol=1e-5)
        places = {int(p) // PLACE for p in beats.place[0][beats.valid[0] > 0]}
        assert {int(i) for i in torch.nonzero(share[0]).flatten()} <= places
    assert torch.equal(reading.shape_share[2], torch.ones(50))


def test_shares_equal_a_loop(tower):
    beats = tower.finder(SIGNALS[:1])
    weight = torch.rand(1, beats.place.shape[1], generator=torch.Generator().manual_seed(0))
    expected = np.zeros(50)
    for place, valid, own in zip(beats.place[0], beats.valid[0], weight[0], strict=True):
        expected[int(place) // PLACE] += float(valid * own)
    assert np.allclose(shares(beats, weight, 50)[0].numpy(), expected / expected.mean(), atol=1e-5)


def test_mixed_precision_moves_no_beat(tower):
    with torch.inference_mode():
        plain = tower.read(SIGNALS)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = tower.read(SIGNALS)
    assert torch.equal(plain.features, mixed.features)
    assert torch.equal(plain.usual, mixed.usual)


def test_onnx_runtime_gives_the_same_for_any_batch(small, tmp_path):
    path = tmp_path / "ecg.onnx"
    export_tower(small, (12, 1000), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        embedding, evidence = small(SIGNALS)
    for rows in (slice(0, 1), slice(0, 3)):
        told = session.run(None, {"input": SIGNALS[rows].numpy()})
        assert np.allclose(told[0], embedding[rows].numpy(), atol=1e-4)
        assert np.allclose(told[1], evidence[rows].numpy(), atol=1e-3)
