"""The stages on towers small enough to train in seconds; what each promises is measured, not assumed."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from m3bind.bind import Side, add_lora, bind_towers, merge_lora
from m3bind.checkpoint import BoundModel, load_checkpoint, make_student, make_text_tower, save_checkpoint
from m3bind.config import load_recipe, parse_recipe
from m3bind.data.captions import caption_pool
from m3bind.data.catalogue import findings_of
from m3bind.data.texts import TextBank
from m3bind.distil import distil_student, start_projection, teach
from m3bind.losses import alignment, imitation
from m3bind.towers.text import minilm_tokenizer
from m3bind.towers.waveform import WaveformTower

pytestmark = pytest.mark.train

TEXTS = 24
"""Captions per modality in these tests."""


@pytest.fixture(scope="module")
def recipe():
    raw = load_recipe("mini").model_dump(mode="json")
    raw["dimension"] = 16
    ecg = raw["modalities"]["ecg"]
    ecg["tower"] |= {"widths": [8, 8], "dropout": 0.0}
    raw["modalities"] = {"ecg": ecg, "retina": {**ecg, "datasets": ["idrid"]}}
    raw["bind"] |= {"steps": 12, "batch": 6, "shared_texts": 8, "lora_lr": 3e-3, "projection_lr": 3e-3}
    raw["distil"] |= {"steps": 10, "batch": 6, "images": 6, "lr": 1e-3}
    return parse_recipe(raw, "test")


@pytest.fixture
def bound(recipe):
    """Two modalities whose projections have nothing to do with each other, with made-up features."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sides, texts = {}, []
    random = np.random.default_rng(0)
    for modality in recipe.modalities:
        captions = caption_pool(modality)[:TEXTS]
        labels = [
            {f.id: int(random.integers(0, 2)) for f in findings_of(modality)} | {captions_id: i % 2}
            for i, captions_id in enumerate([findings_of(modality)[0].id] * 16)
        ]
        found = [SimpleNamespace(modality=modality, dataset="d", labels=row) for row in labels]
        tower = WaveformTower(recipe.dimension, (8, 8), 7, 0.0).eval()
        features = torch.randn(1, 16, tower.features)
        sides[modality] = Side(tower, make_text_tower(recipe), features, found, captions, len(texts))
        texts += [c.text for c in captions]
    bank = TextBank(texts, sides["ecg"].text, minilm_tokenizer(recipe.text.max_tokens))
    return sides, bank


def distance(sides, bank):
    return float(alignment([bank.embed(side.text) for side in sides.values()]))


def test_lora_starts_as_nothing_and_merges_without_a_trace(recipe):
    torch.manual_seed(0)
    tower = make_text_tower(recipe)
    bank = TextBank(["no pneumonia", "pneumonia"], tower, minilm_tokenizer(16))
    before, keys = bank.embed(tower), list(tower.state_dict())
    add_lora(tower, recipe.bind)
    assert torch.allclose(before, bank.embed(tower.eval()), atol=1e-6)
    trained = [n for n, p in tower.named_parameters() if p.requires_grad]
    assert all("lora_" in n or n.startswith("projection") for n in trained)
    assert {n.split(".")[-4] for n in trained if "lora_" in n} <= {"query", "value"}
    for name, parameter in tower.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted = bank.embed(tower)
    merge_lora(tower)
    assert list(tower.state_dict()) == keys
    assert torch.allclose(adapted, bank.embed(tower), atol=1e-5)
    assert not torch.allclose(before, adapted, atol=1e-3)


def test_bind_brings_the_text_towers_together(recipe, bound):
    sides, bank = bound
    before = distance(sides, bank)
    bind_towers(sides, bank, recipe.bind, seed=0, progress=lambda _: None)
    assert distance(sides, bank) < 0.7 * before


def test_distil_makes_the_student_follow_its_teachers(recipe, bound):
    sides, bank = bound
    student = make_student(recipe)
    student_bank = TextBank(bank.texts, student, minilm_tokenizer(recipe.text.max_tokens))
    told, mean = teach(sides, bank)
    start_projection(student_bank, student, mean)
    own = {m: slice(s.first_text, s.first_text + len(s.captions)) for m, s in sides.items()}

    def away():
        said = student_bank.embed(student)
        return float(np.mean([float(imitation(said[i], told[m][i])) for m, i in own.items()]))

    before = away()
    for side in sides.values():
        side.tower.requires_grad_(False)
    distil_student(student, sides, bank, student_bank, recipe.distil, 0, lambda _: None)
    assert away() < 0.8 * before


def test_a_checkpoint_comes_back_as_it_was(recipe, bound, tmp_path):
    sides, _ = bound
    tokenizer = minilm_tokenizer(recipe.text.max_tokens)
    images = {m: side.tower for m, side in sides.items()}
    model = BoundModel(recipe, images, make_student(recipe), tokenizer, "abc", ("some data",))
    save_checkpoint(model, tmp_path)
    assert not list(tmp_path.glob("*.pt")) + list(tmp_path.glob("*.pkl"))
    back = load_checkpoint(tmp_path)
    assert back.recipe == recipe
    assert back.data == ("some data",)
    signal = torch.randn(2, 12, 1000)
    ids = torch.tensor([[101, 2053, 102]])
    with torch.inference_mode():
        embedding, evidence = back.images["ecg"](signal)
        assert torch.equal(embedding, images["ecg"](signal)[0])
        assert evidence.shape == (2, 1, 250, 16)
        assert torch.equal(back.text(ids, torch.ones_like(ids)), model.text(ids, torch.ones_like(ids)))
    assert not any(p.requires_grad for p in back.text.parameters())
