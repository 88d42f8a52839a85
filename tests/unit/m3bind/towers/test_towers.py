"""Shapes, norms, and the promise that evidence adds up to the embedding."""

import pytest
import torch

from dicom_node.errors import ConfigError
from m3bind.towers.image import ImageTower
from m3bind.towers.text import TextTower, minilm, minilm_tokenizer, tokenize
from m3bind.towers.waveform import WaveformTower

pytestmark = pytest.mark.train


def check(tower, values, shape):
    with torch.inference_mode():
        embedding, evidence = tower.eval()(values)
        assert evidence.shape == shape
        assert torch.allclose(embedding.norm(dim=-1), torch.ones(len(values)), atol=1e-5)
        mean = evidence.mean(dim=(1, 2))
        assert torch.allclose(embedding, mean / mean.norm(dim=-1, keepdim=True), atol=1e-5)
        anchor = torch.randn(embedding.shape[1])
        parts = (evidence @ anchor) / mean.norm(dim=-1)[:, None, None]
        assert torch.allclose(parts.mean(dim=(1, 2)), embedding @ anchor, atol=1e-4)
    return embedding


def test_image_tower():
    torch.manual_seed(0)
    tower = ImageTower(32, 14)
    pixels = torch.randn(2, 3, 224, 224)
    embedding = check(tower, pixels, (2, 7, 7, 32))
    with torch.inference_mode():
        pooled = tower.pooled(tower.lower(pixels))
        assert torch.allclose(tower.project(pooled), embedding, atol=1e-5)
    tower.train()
    assert not any(m.training for m in tower.upper.modules())
    assert not any(p.requires_grad for p in tower.lower.parameters())


@pytest.mark.parametrize(
    ("size", "first", "taps", "channels"),
    [(224, 11, (10, 14), 112 + 192), (160, 14, (13,), 192), (192, 12, (14, 11), 384)],
)
def test_taps_reach_the_embedding_and_the_evidence_alike(size, first, taps, channels):
    torch.manual_seed(0)
    tower = ImageTower(32, first, pretrained=False, taps=taps)
    pixels = torch.randn(2, 3, size, size)
    embedding = check(tower, pixels, (2, size // 32, size // 32, 32))
    assert tower.features == 1280 + channels
    with torch.inference_mode():
        pooled = tower.pooled(tower.lower(pixels))
        assert pooled.shape == (2, tower.features)
        assert torch.allclose(tower.project(pooled), embedding, atol=1e-5)


def test_a_tap_below_the_last_frozen_block_is_refused():
    with pytest.raises(ConfigError, match="from 10"):
        ImageTower(32, 11, pretrained=False, taps=(9,))


def test_depthwise_filters_stay_as_they_came():
    tower = ImageTower(32, 14, pretrained=False)
    fixed = [p for p in tower.upper.parameters() if not p.requires_grad]
    assert len(fixed) == 2  # one for each of the two blocks
    assert all(p.shape[1] == 1 for p in fixed)


def test_waveform_tower():
    torch.manual_seed(0)
    tower = WaveformTower(32, (8, 16), 7, 0.1)
    signal = torch.randn(2, 12, 1000)
    embedding = check(tower, signal, (2, 1, 250, 32))
    with torch.inference_mode():
        assert torch.allclose(tower.project(tower.pooled(signal)), embedding, atol=1e-5)


def test_text_tower_is_minilm_below_its_projection():
    texts = ["chest radiograph with pneumonia", "no pneumonia"]
    ids, mask = tokenize(minilm_tokenizer(32), texts)
    tower = TextTower(32, range(6), 3)
    with torch.inference_mode():
        ours = tower.upper(tower.hidden(ids, mask), mask)
        theirs = minilm(range(6))(input_ids=ids, attention_mask=mask).last_hidden_state
        assert torch.allclose(ours[mask.bool()], theirs[mask.bool()], atol=1e-4)


def test_padding_does_not_change_a_text():
    torch.manual_seed(0)
    tower, tokenizer = TextTower(32, (0, 5), 1), minilm_tokenizer(32)
    with torch.inference_mode():
        alone = tower(*tokenize(tokenizer, ["no pneumonia"]))
        beside = tower(*tokenize(tokenizer, ["no pneumonia", "a much longer text that makes padding needed"]))
    assert torch.allclose(alone[0], beside[0], atol=1e-5)
    assert torch.allclose(alone.norm(dim=-1), torch.ones(1), atol=1e-5)
