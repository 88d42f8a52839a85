"""The stages on towers small enough to train in seconds; what each promises is measured, not assumed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from m3bind.bind import add_lora, bind_towers, merge_lora
from m3bind.checkpoint import BoundModel, load_checkpoint, make_student, make_text_tower, save_checkpoint
from m3bind.config import DistilRecipe, StopRecipe, load_recipe, parse_recipe
from m3bind.data.texts import TextBank, banks_of
from m3bind.distil import distil_student, start_projection, teach
from m3bind.held_out import HeldOut
from m3bind.losses import alignment, imitation
from m3bind.towers.text import minilm_tokenizer
from m3bind.towers.waveform import WaveformTower
from tests.support.toy_training import (
    BIND,
    CAPTIONS,
    ToyTexts,
    toy_captions,
    toy_examples,
    toy_place,
    toy_sides,
    train_toy_pair,
)

pytestmark = pytest.mark.train

DISTIL = DistilRecipe(
    steps=30, batch=8, images=8, contrastive_weight=0.1, lr=1e-2, weight_decay=0.0, warmup=2
)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def recipe():
    raw = load_recipe("mini").model_dump(mode="json")
    raw["dimension"] = 16
    ecg = raw["modalities"]["ecg"]
    ecg["tower"] = {"kind": "conv1d", "widths": [8, 8], "kernel": 7, "dropout": 0.0}
    raw["modalities"] = {"ecg": ecg}
    return parse_recipe(raw, "test")


def told(sides):
    return [side.bank.embed(side.text) for side in sides.values()]


def test_pretraining_makes_image_and_text_agree():
    found, inputs = toy_examples()
    losses = []
    for steps in (1, 60):
        pair, outcome = train_toy_pair(toy_place(), steps)
        assert outcome.steps == steps
        with torch.no_grad():
            images = pair["image"].project(pair["image"].pooled(inputs))
        captions = TextBank([c.text for c in toy_captions("ecg")], pair["text"])
        held_out = HeldOut(found, toy_captions("ecg"), pair["text"])
        losses.append(held_out.loss(images, captions.embed(pair["text"]), 10.0))
    assert losses[1] < 0.8 * losses[0]


def test_lora_starts_as_nothing_and_merges_without_a_trace(recipe):
    tower = make_text_tower(recipe, next(iter(recipe.modalities)))
    bank = TextBank(["no pneumonia", "pneumonia"], tower)
    before, keys = bank.embed(tower), list(tower.state_dict())
    add_lora(tower.upper, tower.lora_targets, BIND)
    assert torch.allclose(before, bank.embed(tower.eval()), atol=1e-6)
    trained = [n for n, p in tower.upper.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in n for n in trained)
    assert {n.split(".")[-4] for n in trained} == {"query", "value"}
    for name, parameter in tower.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted = bank.embed(tower)
    merge_lora(tower.upper)
    assert list(tower.state_dict()) == keys
    assert torch.allclose(adapted, bank.embed(tower), atol=1e-5)
    assert not torch.allclose(before, adapted, atol=1e-3)


@pytest.mark.parametrize("live", [False, True])
def test_bind_brings_the_text_towers_together(live):
    sides = toy_sides(live)
    before = float(alignment(told(sides)))
    bodies = {m: [p.clone() for p in s.tower.trained()[0].parameters()] for m, s in sides.items()}
    keys = {m: list(s.tower.state_dict()) for m, s in sides.items()}
    bind_towers(sides, BIND.model_copy(update={"steps": 40}), 0, toy_place())
    assert float(alignment(told(sides))) < 0.5 * before
    for modality, side in sides.items():
        assert list(side.tower.state_dict()) == keys[modality]  # adapters are merged
        moved = [
            not torch.equal(a, b)
            for a, b in zip(bodies[modality], side.tower.trained()[0].parameters(), strict=True)
        ]
        assert any(moved) == live  # a body without query and value stays as it was
        assert not any(p.requires_grad for p in side.tower.parameters())


def test_without_rank_only_projections_move():
    sides = toy_sides()
    body = [p.clone() for p in sides["ecg"].text.upper.parameters()]
    bind_towers(sides, BIND.model_copy(update={"rank": 0, "steps": 3}), 0, toy_place())
    assert all(torch.equal(a, b) for a, b in zip(body, sides["ecg"].text.upper.parameters(), strict=True))


@pytest.mark.parametrize("measure", ["auc", "loss"])
def test_bind_and_distil_can_stop_early(measure):
    sides = toy_sides()
    stop = StopRecipe(measure=measure, every=2, patience=1)
    for modality, side in sides.items():
        found, _ = toy_examples(modality)
        held_out = HeldOut(found, side.captions, side.text)
        sides[modality] = replace(side, watched=(side.images, held_out, len(found)))
    settings = BIND.model_copy(update={"steps": 400, "stop": stop, "lora_lr": 0.3, "projection_lr": 0.3})
    outcome = bind_towers(sides, settings, 0, toy_place())
    assert outcome.steps < 400
    assert outcome.best_step in range(2, outcome.steps + 1, 2)
    student = ToyTexts()
    bank = TextBank(next(iter(sides.values())).bank.texts, student)
    settings = DISTIL.model_copy(update={"steps": 400, "stop": stop, "lr": 0.3})
    outcome = distil_student(student, bank, sides, settings, 0, toy_place(), teach(sides))
    assert outcome.steps < 400


def test_each_tower_reads_with_its_own_tokenizer():
    texts = ["no effusion", "effusion"]
    one, other = ToyTexts(), ToyTexts(offset=3)
    other.load_state_dict(one.state_dict())
    twin = ToyTexts()
    twin.load_state_dict(one.state_dict())
    banks = banks_of(texts, {"a": one, "b": other, "c": twin})
    assert banks["a"] is banks["c"]
    assert banks["a"] is not banks["b"]
    for bank, tower in ((banks["a"], one), (banks["b"], other)):
        assert torch.allclose(bank.embed(tower), tower(**tower.tokenize(texts)), atol=1e-6)
    with torch.no_grad():
        twin.words.weight += 1.0
    assert len({id(b) for b in banks_of(texts, {"a": one, "c": twin}).values()}) == 2


def test_a_bank_gives_what_the_tower_gives_whatever_stands_beside(recipe):
    tower = make_text_tower(recipe, next(iter(recipe.modalities)))
    texts = ["No pneumonia.", "A rather long sentence about an effusion on the left side.", "Normal."]
    bank = TextBank(texts, tower)
    with torch.no_grad():
        whole = tower(**tower.tokenize(texts))
    assert torch.allclose(bank.embed(tower), whole, atol=1e-5)
    assert torch.allclose(bank.embed(tower, np.array([2, 0])), whole[[2, 0]], atol=1e-5)


def test_distil_makes_the_student_follow_its_teachers():
    sides = toy_sides()
    student = ToyTexts()
    bank = TextBank(next(iter(sides.values())).bank.texts, student)
    taught, mean = teach(sides)

    def away():
        said = bank.embed(student)
        own = [said[s.caption_indices()] for s in sides.values()]
        right = [taught[m][s.caption_indices()] for m, s in sides.items()]
        return float(np.mean([float(imitation(a, b)) for a, b in zip(own, right, strict=True)]))

    at_random = away()
    start_projection(bank, student, mean)
    started = away()
    assert started < at_random
    fitted = float(imitation(bank.embed(student), mean))
    other = ToyTexts()
    other.load_state_dict(student.state_dict())
    start_projection(bank, other, mean.flip(0))  # texts and targets that do not belong together
    assert fitted < 0.7 * float(imitation(bank.embed(other), mean))
    distil_student(student, bank, sides, DISTIL, 0, toy_place(), (taught, mean))
    assert away() < 0.9 * started


@pytest.mark.parametrize("width", [64, 416])
def test_a_student_has_any_width(recipe, width):
    raw = recipe.model_dump(mode="json")
    raw["text"] |= {"student_width": width, "student_layers": [0, 5]}
    student = make_student(parse_recipe(raw, "test"))
    words = student.tokenize(["pneumonia", "no pneumonia at all"])
    hidden = student.hidden(**words)
    assert hidden.shape == (2, 4 + 2, width)
    assert student(**words).shape == (2, 16)
    assert len(student.layers()) in (0, 2)
    if width != 384:  # words that are near each other in MiniLM start near each other
        ids = student.tokenize(["pneumonia effusion table"])["input_ids"][0, 1:-1]
        vectors = student.embeddings.word_embeddings.weight[ids]
        origin = make_text_tower(recipe, next(iter(recipe.modalities))).embeddings.word_embeddings.weight[ids]
        similar = torch.nn.functional.cosine_similarity
        assert similar(vectors[0], vectors[-1], dim=0) == pytest.approx(
            float(similar(origin[0], origin[-1], dim=0)), abs=0.35 if width < 384 else 1e-3
        )


def test_a_checkpoint_comes_back_as_it_was(recipe, tmp_path):
    tower = WaveformTower(16, (8, 8), 7, 0.0).eval()
    tokenizer = minilm_tokenizer(recipe.text.max_tokens)
    model = BoundModel(recipe, {"ecg": tower}, make_student(recipe), tokenizer, "abc", ("some data",))
    save_checkpoint(model, tmp_path)
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".safetensors", ".json"}
    assert json.loads((tmp_path / "config.json").read_text())["recipe"] == recipe.model_dump(mode="json")
    back = load_checkpoint(tmp_path)
    assert back.recipe == recipe
    assert back.data == ("some data",)
    signal = torch.randn(2, 12, 1000)
    ids = torch.tensor([[101, 2053, 102]])
    with torch.inference_mode():
        embedding, evidence = back.images["ecg"](signal)
        assert torch.equal(embedding, tower(signal)[0])
        assert evidence.shape == (2, 1, 250, 16)
        assert torch.equal(back.text(ids, torch.ones_like(ids)), model.text(ids, torch.ones_like(ids)))
    assert not any(p.requires_grad for p in back.text.parameters())


def test_there_are_as_many_captions_as_the_toys_say():
    assert len(toy_captions("retina")) == CAPTIONS
