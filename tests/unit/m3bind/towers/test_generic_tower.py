"""Towers described by a TOML file: renaming, strictness, every kind of encoder, with a text model or none."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from dicom_node.errors import ConfigError
from m3bind.towers.assemble import assemble
from m3bind.towers.generic import read_generic
from m3bind.towers.load import load_text, load_tower, load_visual
from m3bind.towers.tables import GenericTowerRecipe
from tests.support.towers import SMALL, TEXTS, excite, word_pieces

pytestmark = pytest.mark.train

NARROW = "options = { width = 4 }"


def recipe(path, **more):
    return GenericTowerRecipe(kind="generic", path=str(path), **more)


def describe(folder, *, architecture="resnet18", shape=(3, 32, 32), options=NARROW, text="", **more):
    """A tower.toml; `more` replaces whole lines."""
    lines = {
        "weights": 'weights = "model.safetensors"',
        "head": "",
        "names": '"enc.backbone." = "image."\n"enc.head." = "image_projection.0."',
        "projection": 'projection = [{ layer = "linear", out = 6, bias = false }]',
        "dialect": 'dialect = "torchvision"',
        **more,
    }
    path = folder / "tower.toml"
    path.write_text(
        f"""{lines["weights"]}
{lines["head"]}
[names]
{lines["names"]}
[image]
architecture = "{architecture}"
{lines["dialect"]}
input_shape = {list(shape)}
preprocess = [{{ op = "channels_first" }}]
{lines["projection"]}
{options}
{text}
"""
    )
    return path


TEXT = """
[text]
model = "text"
pooling = "class"
max_tokens = 12
projection = [
    { layer = "linear", out = 8 },
    { layer = "batch-norm" },
    { layer = "relu" },
    { layer = "linear", out = 6 },
]
"""


class Theirs(nn.Module):
    """A model of the shape of CXR-CLIP, MGCA, FLAIR: image encoder, BERT, projections; names of its own."""

    def __init__(self, bert):
        super().__init__()
        from m3bind.towers.resnet import NAMED, ResNet

        backbone = ResNet(NAMED["resnet18"].model_copy(update={"width": 4}))
        self.enc = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(32, 6, bias=False)})
        self.bert = bert
        self.text_head = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6))
        self.logit_scale = nn.Parameter(torch.ones(()))

    def encode_text(self, **tokens):
        return self.text_head(self.bert(**tokens).last_hidden_state[:, 0])


@pytest.fixture
def theirs(tmp_path):
    """Saved as one torch file with its state_dict inside, beside the text model's folder."""
    from transformers import BertConfig, BertModel

    folder = tmp_path / "text"
    folder.mkdir()
    config = BertConfig(**SMALL, vocab_size=word_pieces(folder), max_position_embeddings=32)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    model = excite(Theirs(BertModel(config)))
    state = {k.replace("backbone.stem.", "backbone."): v for k, v in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "model.pt")
    return model


FULL = {
    "weights": 'weights = "model.pt"\nkey = "state_dict"\nignore = ["logit_scale", "bert.pooler."]',
    "names": '"enc.backbone." = "image."\n"enc.head." = "image_projection.0."\n'
    '"bert." = "text."\n"text_head." = "text_projection."',
    "text": TEXT,
}


def test_images_and_texts_answer_as_the_model_did(tmp_path, theirs):
    tower = load_tower(recipe(describe(tmp_path, **FULL)), "radiograph", 6)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        backbone, local = theirs.enc["backbone"], pixels
        for stage in backbone.stages():
            local = stage(local)
        expected = nn.functional.normalize(theirs.enc["head"](local.mean(dim=(2, 3))), dim=-1)
        embedding, evidence = tower.visual(pixels)
        assert torch.allclose(embedding, expected, atol=1e-5)
        assert evidence.shape == (2, 1, 1, 6)
        told = tower.text.tokenize(TEXTS)
        text = nn.functional.normalize(theirs.encode_text(**told), dim=-1)
        assert torch.allclose(tower.text(**told), text, atol=1e-5)
    tower.text.train()
    assert not tower.text.projection[1].training  # its statistics stay as they came


@pytest.mark.parametrize(
    ("architecture", "shape", "places"),
    [
        ("resnet18", (3, 64, 96), (2, 3)),
        ("resnet50", (3, 64, 64), (2, 2)),
        ("resnet18-1d", (12, 256), (1, 8)),
        ("resnet18-3d", (1, 32, 64, 64), (2, 2)),
        ("resnet50-3d", (1, 16, 32, 64), (1, 2)),
    ],
)
def test_evidence_adds_up_to_the_embedding(tmp_path, architecture, shape, places):
    path = describe(
        tmp_path, architecture=architecture, shape=shape, projection='projection = "new"', dialect=""
    )
    torch.manual_seed(0)
    layout = read_generic(path, 0)
    tower = assemble(layout.visual, None, "here")
    inputs = torch.randn(2, *shape)
    with torch.inference_mode():
        embedding, evidence = tower(inputs)
        mean = nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1)
        assert evidence.shape[1:3] == places
        assert torch.allclose(mean, tower.project(tower.pooled(tower.lower(inputs))), atol=1e-5)
        assert torch.allclose(mean, embedding, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "patch", "pooling", "places"),
    [
        ((12, 64), [8], "mean", (1, 8)),
        ((3, 16, 24), [8, 8], "mean", (2, 3)),
        ((1, 8, 16, 24), [4, 8, 8], "mean", (2, 3)),
        ((1, 8, 16, 24), [4, 8, 8], "class", None),
        ((3, 16, 24), [8, 8], "mean-then-norm", None),
        ((3, 16, 24), [8, 8], "attention", None),
    ],
)
def test_vision_transformers_over_one_to_three_axes(tmp_path, shape, patch, pooling, places):
    options = (
        f'options = {{ patch = {patch}, width = 8, depth = 1, heads = 2, inner = 16, pooling = "{pooling}" }}'
    )
    path = describe(
        tmp_path, architecture="vit", shape=shape, options=options, projection='projection = "new"'
    )
    torch.manual_seed(0)
    tower = assemble(read_generic(path, 0).visual, None, "here")
    inputs = torch.randn(2, *shape)
    with torch.inference_mode():
        embedding, evidence = tower(inputs)
        assert torch.allclose(embedding, tower.project(tower.pooled(inputs)), atol=1e-6)
        if places is None:
            assert evidence is None
            assert tower.from_lower(inputs) is None
        else:
            assert evidence.shape[1:3] == places
            mean = nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1)
            assert torch.allclose(mean, embedding, atol=1e-6)


def test_an_mlp_projection_leaves_no_evidence(tmp_path):
    layers = '[{ layer = "linear", out = 8 }, { layer = "relu" }, { layer = "linear", out = 6 }]'
    tower = assemble(
        read_generic(describe(tmp_path, projection=f"projection = {layers}"), 0).visual, None, "here"
    )
    assert tower(torch.randn(1, 3, 32, 32))[1] is None


@pytest.mark.usefixtures("theirs")
def test_a_new_projection_is_asked_for_not_assumed(tmp_path):
    names = {**FULL, "names": '"enc.backbone." = "image."', "text": ""}
    names["weights"] = (
        'weights = "model.pt"\nkey = "state_dict"\n'
        'ignore = ["logit_scale", "bert.", "text_head.", "enc.head."]'
    )
    with pytest.raises(ConfigError, match=r"1 weights are missing: projection\.0\.weight"):
        load_visual(recipe(describe(tmp_path, **names)), "ct", 6)
    tower = load_visual(recipe(describe(tmp_path, **names, projection='projection = "new"')), "ct", 9)
    assert tower.dimension == 9
    assert load_text(recipe(tmp_path / "tower.toml"), "ct", 9) is None


@pytest.mark.usefixtures("theirs")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"names": '"enc." = "picture."'}, r"names lead to picture\."),
        ({"names": ""}, r"weights have no place, as bert\..* map them under \[names\]"),
        ({"text": ""}, r"there are text weights, but no \[text\]"),
        ({"architecture": "resnet999"}, "'resnet999' is not known; there are vit, factorised-vit, resnet18"),
        ({"shape": (1, 32, 32)}, r"input_shape \[1, 32, 32\] is not one for resnet18 with 3"),
        ({"options": "options = { wide = 3 }"}, "wide: Extra inputs"),
        ({"dialect": 'dialect = "keras"'}, r"image\.dialect"),
        ({"weights": 'weights = "gone.pt"'}, r"gone\.pt is missing"),
        (
            {"weights": 'weights = "model.pt"\nkey = "model"'},
            "has no 'model' .* there are: state_dict, epoch",
        ),
        ({"weights": 'weights = "model.pt"'}, "name the table of its weights, one of state_dict"),
        ({"text": TEXT.replace("12", "33")}, "max_tokens = 33, but the text model takes 32"),
        ({"projection": 'projection = [{ layer = "linear" }]'}, "`out` is the width of a linear layer"),
        ({"projection": 'projection = [{ layer = "relu" }]'}, "A projection needs a linear layer"),
        ({"projection": 'projection = [{ layer = "linear", out = 7 }]'}, "have 7 dimensions, the recipe 6"),
        ({"head": "colour = 1"}, "colour: Extra inputs"),
    ],
)
def test_what_is_wrong_in_the_description_is_named(tmp_path, change, told):
    path = describe(tmp_path, **{**FULL, **change})
    with pytest.raises(ConfigError, match=told):
        load_tower(recipe(path), "radiograph", 6)


@pytest.mark.usefixtures("theirs")
def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (print, ("code ran",))

    torch.save({"state_dict": Trap()}, tmp_path / "model.pt")
    with pytest.raises(ConfigError, match="would run code while it is read"):
        load_visual(recipe(describe(tmp_path, **FULL)), "radiograph", 6)


@pytest.mark.usefixtures("theirs")
def test_weights_may_lie_in_several_files_but_not_twice(tmp_path):
    state = torch.load(tmp_path / "model.pt", weights_only=True)["state_dict"]
    image = {k: v.contiguous() for k, v in state.items() if k.startswith("enc.")}
    rest = {k: v.contiguous() for k, v in state.items() if k not in image}
    save_file(image, tmp_path / "image.safetensors")
    save_file(rest, tmp_path / "rest.safetensors")
    ignore = 'ignore = ["logit_scale", "bert.pooler."]'
    two = f'weights = ["image.safetensors", "rest.safetensors"]\n{ignore}'
    path = describe(tmp_path, **{**FULL, "weights": two})
    assert load_tower(recipe(path), "radiograph", 6).text is not None
    save_file({**rest, "enc.head.weight": image["enc.head.weight"]}, tmp_path / "rest.safetensors")
    with pytest.raises(ConfigError, match=r"rest\.safetensors holds weights that another file has too"):
        load_tower(recipe(path), "radiograph", 6)


@pytest.mark.usefixtures("theirs")
def test_more_frozen_stages_than_there_are(tmp_path):
    path = describe(tmp_path, **FULL)
    assert load_visual(recipe(path, frozen=5), "radiograph", 6).trained()[0] is not None
    with pytest.raises(ConfigError, match="frozen = 6, but the encoder has 5 stages"):
        load_visual(recipe(path, frozen=6), "radiograph", 6)
