"""Published models by the TOML layout alone: small, random, with the published weight names, outputs equal.

The models stand in `tests/support/published.py`, made of torch's own layers.
"""

import pytest
import torch
from torch import nn

from dicom_node.errors import ConfigError
from tests.support.published import Conch, CtClip, CtViT, Merl
from tests.support.published_checks import SAID, bert, check_images, check_texts, load, stir
from tests.support.towers import word_pieces

pytestmark = pytest.mark.train


CT_CLIP = """
weights = "model.pt"
ignore = ["temperature", "text_transformer.pooler.", "visual_transformer.to_pixels.", "*.context_norm.*",
    "*._codebook.initted", "*._codebook.cluster_size"]
[names]
"visual_transformer." = "image."
"to_visual_latent." = "image_projection.0."
"text_transformer." = "text."
"to_text_latent." = "text_projection.0."
[image]
architecture = "factorised-vit"
dialect = "ctvit"
input_shape = [1, 6, 12, 8]
preprocess = [{ op = "channels_first" }]
projection = [{ layer = "linear", out = 10, bias = false }]
[image.options]
patch = [2, 4, 4]
width = 16
heads = 2
head_width = 6
spatial_depth = 2
temporal_depth = 2
codebook = 12
[text]
model = "text"
pooling = "class"
max_tokens = 12
projection = [{ layer = "linear", out = 10, bias = false }]
"""


@pytest.fixture
def ct_clip(tmp_path):
    return stir(CtClip(bert(tmp_path), CtViT((6, 12, 8), (2, 4, 4), 16), 10))


def test_ct_clip(tmp_path, ct_clip):
    tower = load(tmp_path, ct_clip, CT_CLIP, 10)
    volumes = torch.randn(3, 1, 6, 12, 8)
    with torch.inference_mode():
        tokens = ct_clip.visual_transformer(volumes)
        assert len(tokens.flatten(0, 3).unique(dim=0)) > 3  # the codebook is used, not one vector of it
        expected = ct_clip.image(volumes)
    assert check_images(tower, volumes, expected) is None
    check_texts(tower, ct_clip.text)


def test_ct_clip_passes_gradients_through_its_codebook(tmp_path, ct_clip):
    tower = load(tmp_path, ct_clip, CT_CLIP, 10).visual
    volumes = torch.randn(2, 1, 6, 12, 8)
    before = tower(volumes)[0].detach()
    tower.train()
    embedding = tower(volumes)[0]
    assert torch.allclose(embedding, before, atol=1e-6)
    embedding[:, 0].sum().backward()
    assert tower.upper.get_submodule("stages.1.layers.0.attention.query").weight.grad.abs().sum() > 0
    assert tower.upper.head.codebook.grad is None
    assert tower.lora_targets == ("query", "value")


def test_ct_clip_with_keys_that_stand_for_nothing_is_refused(tmp_path, ct_clip):
    attention = ct_clip.visual_transformer.enc_spatial_transformer.layers[0]["1"]
    attention.null_kv = nn.Parameter(torch.randn(2, 4, 6))
    with pytest.raises(ConfigError, match=r"spatial\.layers\.0\.attention\.null \(2, 4, 6\) instead of"):
        load(tmp_path, ct_clip, CT_CLIP, 10)


CONCH = """
weights = "model.pt"
ignore = ["logit_scale", "text_decoder.", "visual.attn_pool_caption.", "visual.ln_caption."]
[names]
"visual.trunk." = "image."
"visual.attn_pool_contrast." = "image.attn_pool_contrast."
"visual.ln_contrast." = "image.ln_contrast."
"visual.proj_contrast" = "image_projection.0.weight.T"
"text." = "text."
"text.text_projection" = "text_projection.0.weight.T"
[image]
architecture = "vit"
dialect = "timm"
input_shape = [3, 32, 32]
preprocess = [{ op = "channels_first" }]
projection = [{ layer = "linear", out = 12, bias = false }]
[image.options]
patch = [8, 8]
width = 16
depth = 2
heads = 2
inner = 64
pooling = "query"
pool_width = 12
pool_heads = 3
[text]
architecture = "transformer"
dialect = "open-clip"
tokenizer = "text"
max_tokens = 9
padding = "hidden"
projection = [{ layer = "linear", out = 12, bias = false }]
[text.options]
vocabulary = 14
positions = 10
width = 16
depth = 2
heads = 2
inner = 64
activation = "gelu"
epsilon = 1e-5
causal = true
class_token = true
"""


@pytest.fixture
def conch(tmp_path):
    (tmp_path / "text").mkdir()
    assert word_pieces(tmp_path / "text") == 14
    return stir(Conch(14, 10))


def test_conch(tmp_path, conch):
    tower = load(tmp_path, conch, CONCH, 12)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert check_images(tower, pixels, conch.image(pixels)) is None
    told = tower.text.tokenize(SAID)
    assert told["input_ids"].shape == (4, 9)
    assert told["attention_mask"].sum(dim=1).tolist() == [4, 8, 3, 9]
    check_texts(tower, lambda ids, _: conch.text(ids, pad=0))
    assert torch.equal(told["attention_mask"], (told["input_ids"] != 0).long())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("pool_heads = 3\n", "", "this pooling needs `pool_width` and `pool_heads`"),
        ("pool_heads = 3", "pool_heads = 5", "the first a multiple of the second"),
        ('pooling = "query"', 'pooling = "class"', "`pool_width` and `pool_heads` are of another pooling"),
        ("max_tokens = 9", "max_tokens = 8", "positions for 9 beside its class token"),
        ("max_tokens = 9", "max_tokens = 10", "positions for 9 beside its class token"),
        ('padding = "hidden"\n', "", 'write padding = "hidden"'),
        ("causal = true", "causal = false", "`class_token` is known of causal text encoders only"),
        ("class_token = true", "", r"have no place: class_token"),
        ("vocabulary = 14", "vocabulary = 13", r"tokens\.weight \(14, 16\) instead of \(13, 16\)"),
        ('tokenizer = "text"', 'tokenizer = "gone"', "has no tokenizer: expected tokenizer.json"),
        (
            'architecture = "transformer"',
            'architecture = "gpt"',
            "architecture: Input should be 'transformer'",
        ),
        ('"visual.proj_contrast" =', '"visual.proj" =', r"have no place: projection\.0\.weight\.T_contrast"),
        ('"visual.attn_pool_caption.", ', "", r"have no place, as visual\.attn_pool_caption\."),
    ],
)
def test_what_is_missing_or_wrong_is_told(tmp_path, conch, old, new, told):
    assert old in CONCH
    with pytest.raises(ConfigError, match=told):
        load(tmp_path, conch, CONCH.replace(old, new), 12)


MERL = """
weights = "model.pt"
ignore = ["ecg_encoder.linear.", "linear1.", "linear2."]
[names]
"ecg_encoder." = "image."
"downconv." = "image.downconv."
"att_pool_head." = "image.att_pool_head."
"att_pool_head.c_proj." = "image_projection.0."
"lm_model." = "text."
"proj_t." = "text_projection."
[image]
architecture = "resnet18-1d"
dialect = "torchvision"
input_shape = [12, 100]
preprocess = [{ op = "channels_first" }]
projection = [{ layer = "linear", out = 6 }]
[image.options]
width = 4
stem_pool = false
pooling = "class-attention"
pool_width = 6
pool_heads = 2
pool_places = 7
[text]
model = "text"
pooling = "pooler"
max_tokens = 12
projection = [{ layer = "linear", out = 8 }, { layer = "gelu" }, { layer = "linear", out = 6 }]
"""


def test_merl(tmp_path):
    model = stir(Merl(bert(tmp_path), 100))
    tower = load(tmp_path, model, MERL, 6)
    signals = torch.randn(2, 12, 100)
    with torch.inference_mode():
        assert check_images(tower, signals, model.image(signals)) is None
    check_texts(tower, model.text)
    with pytest.raises(ConfigError, match=r"head\.positions \(1, 8, 6\) instead of \(9, 6\)"):
        load(tmp_path, model, MERL.replace("pool_places = 7", "pool_places = 8"), 6)
