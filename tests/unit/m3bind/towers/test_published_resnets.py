"""FLAIR, MGCA and CXR-CLIP by the TOML layout alone: see `test_published_shapes.py`."""

import pytest
import torch
from torch import nn

from dicom_node.errors import ConfigError
from m3bind.towers.resnet import NAMED, ResNet
from tests.support.published_checks import bert, check_images, check_texts, load, stir, unit

pytestmark = pytest.mark.train

RESNET = """
[image]
architecture = "resnet18"
dialect = "torchvision"
input_shape = [3, 32, 32]
preprocess = [{ op = "channels_first" }]
options = { width = 4 }
"""


class Heads(nn.Module):
    """A ResNet and a BERT under the names of `names`, with a projection for each."""

    def __init__(self, text, image_head, text_head, names):
        super().__init__()
        self.backbone = ResNet(NAMED["resnet18"].model_copy(update={"width": 4}))
        self.bert, self.image_head, self.text_head = text, image_head, text_head
        self._names = names

    def state_dict(self):
        found = {}
        for name, value in super().state_dict().items():
            for old, new in self._names.items():
                if name.startswith(old):
                    found[new + name[len(old) :]] = value
                    break
        return found

    def image(self, pixels):
        for stage in self.backbone.stages():
            pixels = stage(pixels)
        return self.image_head(pixels.mean(dim=(2, 3)))


def test_flair(tmp_path):
    """Texts: the mean of three layers' states; each text alone, as the authors' code counts padding too."""
    names = {
        "backbone.stem.": "vision_model.model.",
        "backbone.": "vision_model.model.",
        "image_head.": "vision_model.projection_head_vision.projection.",
        "bert.": "text_model.model.",
        "text_head.": "text_model.projection_head_text.projection.",
    }
    model = stir(Heads(bert(tmp_path), nn.Linear(32, 6, bias=False), nn.Linear(16, 6, bias=False), names))
    toml = f"""
weights = "model.pt"
ignore = ["text_model.model.pooler."]
[names]
"vision_model.model." = "image."
"vision_model.projection_head_vision.projection." = "image_projection.0."
"text_model.model." = "text."
"text_model.projection_head_text.projection." = "text_projection.0."
{RESNET}
projection = [{{ layer = "linear", out = 6, bias = false }}]
[text]
model = "text"
pooling = "mean"
layers = [1, 2, -1]
max_tokens = 12
projection = [{{ layer = "linear", out = 6, bias = false }}]
"""
    tower = load(tmp_path, model, toml, 6)
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        check_images(tower, pixels, model.image(pixels))

    def text(ids, mask):
        states = model.bert(ids, attention_mask=mask, output_hidden_states=True).hidden_states
        mean = torch.stack([states[1], states[2], states[-1]]).mean(dim=2).mean(dim=0)
        return model.text_head(unit(mean))

    check_texts(tower, text)
    with pytest.raises(ConfigError, match="the pooler looks at the last layer"):
        load(tmp_path, model, toml.replace('pooling = "mean"', 'pooling = "pooler"'), 6)


def test_mgca(tmp_path):
    """Projections end in a batch norm without weight and bias; the local ones are not wanted."""

    def head(width):
        return nn.Sequential(
            nn.Linear(width, 8),
            nn.BatchNorm1d(8),
            nn.ReLU(),
            nn.Linear(8, 6),
            nn.BatchNorm1d(6, affine=False),
        )

    names = {
        "backbone.stem.": "img_encoder_q.model.",
        "backbone.": "img_encoder_q.model.",
        "image_head.": "img_encoder_q.global_embed.head.",
        "bert.": "text_encoder_q.model.",
        "text_head.": "text_encoder_q.global_embed.head.",
    }
    model = stir(Heads(bert(tmp_path), head(32), head(16), names))
    layers = """projection = [
    { layer = "linear", out = 8 }, { layer = "batch-norm" }, { layer = "relu" },
    { layer = "linear", out = 6 }, { layer = "batch-norm", affine = false },
]"""
    toml = f"""
weights = "model.pt"
key = "state_dict"
ignore = ["text_encoder_q.model.pooler."]
[names]
"img_encoder_q.model." = "image."
"img_encoder_q.global_embed.head." = "image_projection."
"text_encoder_q.model." = "text."
"text_encoder_q.global_embed.head." = "text_projection."
{RESNET}
{layers}
[text]
model = "text"
pooling = "class"
max_tokens = 12
{layers}
"""
    tower = load(tmp_path, model, toml, 6, key="state_dict")
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        check_images(tower, pixels, model.image(pixels))
    check_texts(
        tower, lambda ids, mask: model.text_head(model.bert(ids, attention_mask=mask).last_hidden_state[:, 0])
    )
    wrong = toml.replace(", affine = false", "")
    with pytest.raises(ConfigError, match=r"missing: projection\.4\.bias, projection\.4\.weight"):
        load(tmp_path, model, wrong, 6, key="state_dict")


def test_cxr_clip(tmp_path):
    """Texts: the state of the last token."""
    names = {
        "backbone.stem.": "image_encoder.resnet.",
        "backbone.": "image_encoder.resnet.",
        "image_head.": "image_projection.projection.",
        "bert.": "text_encoder.text_encoder.",
        "text_head.": "text_projection.projection.",
    }
    model = stir(Heads(bert(tmp_path), nn.Linear(32, 6), nn.Linear(16, 6), names))
    toml = f"""
weights = "model.pt"
key = "model"
ignore = ["text_encoder.text_encoder.pooler."]
[names]
"image_encoder.resnet." = "image."
"image_projection.projection." = "image_projection.0."
"text_encoder.text_encoder." = "text."
"text_projection.projection." = "text_projection.0."
{RESNET}
projection = [{{ layer = "linear", out = 6 }}]
[text]
model = "text"
pooling = "end"
max_tokens = 12
projection = [{{ layer = "linear", out = 6 }}]
"""
    tower = load(tmp_path, model, toml, 6, key="model")
    pixels = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        check_images(tower, pixels, model.image(pixels))
    check_texts(
        tower,
        lambda ids, mask: model.text_head(model.bert(ids, attention_mask=mask).last_hidden_state[:, -1]),
    )
