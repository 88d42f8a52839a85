"""Shapes, norms, and the promise that evidence adds up to the embedding."""

import pytest
import torch

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
