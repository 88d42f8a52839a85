"""A recipe whose modalities start from towers made elsewhere: all three training stages, on real data."""

import json

import pytest
import torch

from m3bind.checkpoint import load_checkpoint, load_side_towers
from m3bind.config import load_recipe, parse_recipe
from m3bind.data.examples import examples
from m3bind.stages import bind, distil, pretrain, site
from m3bind.towers.resnet import NAMED, ResNet
from m3bind.towers.sentence import HuggingFaceTextTower, TransformerTextTower
from tests.support.few_data import few_data
from tests.support.towers import SMALL, excite, save_clip, word_pieces

pytestmark = [pytest.mark.train, pytest.mark.data]

SIGNAL = """
weights = "model.pt"
[names]
"encoder." = "image."
"language." = "text."
"language_projection." = "text_projection."
[image]
architecture = "resnet18-1d"
dialect = "torchvision"
input_shape = [12, 1000]
preprocess = []
projection = "new"
options = { width = 4 }
[text]
model = "."
pooling = "mean"
max_tokens = 30
projection = [{ layer = "linear", out = 12 }]
"""


def save_signal_tower(folder):
    """A 1-D network and BERT with a projection, in one file: MERL's shape."""
    from transformers import BertConfig, BertModel

    folder.mkdir()
    config = BertConfig(**SMALL, vocab_size=word_pieces(folder), max_position_embeddings=32)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    encoder = excite(ResNet(NAMED["resnet18-1d"].model_copy(update={"width": 4})))
    language = excite(BertModel(config, add_pooling_layer=False))
    state = {f"encoder.{k.removeprefix('stem.')}": v for k, v in encoder.state_dict().items()}
    state |= {f"language.{k}": v for k, v in language.state_dict().items()}
    state |= {f"language_projection.0.{k}": v for k, v in torch.nn.Linear(16, 12).state_dict().items()}
    torch.save(state, folder / "model.pt")
    (folder / "tower.toml").write_text(SIGNAL)


@pytest.fixture
def few(tmp_path):
    with few_data(tmp_path / "data"):
        yield


@pytest.fixture
def recipe(tmp_path):
    save_clip(tmp_path / "clip")
    save_signal_tower(tmp_path / "signal")
    raw = load_recipe("mini").model_dump(mode="json")
    retina, ecg = raw["modalities"]["retina"], raw["modalities"]["ecg"]
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    clip = {"kind": "transformers-clip", "path": str(tmp_path / "clip"), "frozen": 1}
    retina |= {
        "tower": clip,
        "input_shape": [3, 32, 32],
        "steps": 2,
        "pretrain": {},
        "preprocess": [
            {"op": "resize", "size": [32, 32]},
            {"op": "normalise", "mean": mean, "std": std},
            {"op": "channels_first"},
        ],
    }
    signal = {"kind": "generic", "path": str(tmp_path / "signal" / "tower.toml")}
    ecg |= {"tower": signal, "steps": 2, "pretrain": {}, "datasets": ["ptbxl"]}
    raw["modalities"] = {"retina": retina, "ecg": ecg}
    raw["dimension"] = 16
    raw["text"] |= {"student_layers": [0], "student_frozen": 0}
    for stage in ("pretrain", "bind", "distil"):
        raw[stage] |= {"stop": None, "batch": 6, "warmup": 1}
    raw["bind"] |= {"steps": 2, "views": 0, "shared_texts": 6}
    raw["distil"] |= {"steps": 2, "images": 4}
    return parse_recipe(raw, "test")


@pytest.mark.usefixtures("few")
def test_all_stages_train_towers_from_elsewhere(recipe, tmp_path):
    here = site(recipe, tmp_path / "work", tmp_path / "cache", lambda _: None)
    pretrain(here)
    started = {m: load_side_towers(recipe, m, here.stage("pretrain")) for m in recipe.modalities}
    # Each text tower came with its image tower, and keeps its own tokenizer.
    assert isinstance(started["retina"][1], TransformerTextTower)
    assert isinstance(started["ecg"][1], HuggingFaceTextTower)
    assert started["retina"][1].tokenize(["x"])["input_ids"].max() > started["ecg"][1].vocabulary
    bind(here)
    for modality, towers in started.items():
        for before, after in zip(towers, load_side_towers(recipe, modality, here.stage("bind")), strict=True):
            old, new = before.state_dict(), after.state_dict()
            assert list(old) == list(new)  # the adapters are merged
            moved = {k for k in old if not torch.equal(old[k], new[k])}
            assert any(k.startswith("projection.") for k in moved)
            assert any(k.startswith("upper.") for k in moved) == bool(after.lora_targets)
            assert not any(k.startswith(("lower.", "tokens.", "positions")) for k in moved)
    distil(here)
    model = load_checkpoint(here.work)
    example = examples(recipe, "ecg", "val")[0]
    from m3bind.data.features import inputs

    signal = torch.from_numpy(inputs(recipe.modalities["ecg"], [example]))
    with torch.inference_mode():
        embedding, evidence = model.images["ecg"](signal)
        text = model.text(**model.text.tokenize(["normal"]))
    assert embedding.shape == text.shape == (1, 16)
    assert evidence.shape == (1, 1, 32, 16)
