"""What open_clip's configuration asks for and this package has not is named; nothing else takes its place.

Outputs are compared with open_clip's own in tests/integration/test_towers_open_clip.py.
"""

import copy
import json

import pytest

from dicom_node.errors import ConfigError
from m3bind.towers.load import load_tower, read_layout
from m3bind.towers.tables import OpenClipTowerRecipe
from tests.support.towers import SMALL, word_pieces

pytestmark = pytest.mark.train

BIOMED = {
    "model_cfg": {
        "embed_dim": 512,
        "vision_cfg": {
            "timm_model_name": "vit_base_patch16_224",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 224,
        },
        "text_cfg": {
            "hf_model_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "hf_tokenizer_name": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
            "hf_proj_type": "mlp",
            "hf_pooler_type": "cls_last_hidden_state_pooler",
            "context_length": 256,
        },
    },
    "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
}
OWN = {
    "embed_dim": 24,
    "vision_cfg": {"layers": 2, "width": 64, "patch_size": 16, "image_size": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 99, "width": 16, "heads": 2, "layers": 1},
}


def recipe(folder, told, text_model=True):
    (folder / "open_clip_config.json").write_text(json.dumps(told))
    word_pieces(folder)
    text = folder / "text"
    text.mkdir(exist_ok=True)
    config = {**SMALL, "model_type": "bert", "vocab_size": 14, "max_position_embeddings": 512}
    (text / "config.json").write_text(json.dumps(config))
    path = str(text) if text_model else None
    return OpenClipTowerRecipe(kind="open-clip", path=str(folder), text_model=path)


def changed(told, path, value):
    told = copy.deepcopy(told)
    at = told
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return told


def test_biomedclips_configuration_is_understood(tmp_path):
    layout = read_layout(recipe(tmp_path, BIOMED), "slide")
    assert layout.input_shape == (3, 224, 224)
    assert (layout.visual.encoder.width, layout.visual.encoder.depth, layout.visual.encoder.heads) == (
        768,
        12,
        12,
    )
    assert [layer.out for layer in layout.text.projection] == [264, None, 512]
    assert layout.text.max_tokens == 256
    assert [o.op for o in layout.preprocess] == [
        "resize_shortest", "center_crop", "bound", "normalise", "channels_first",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("vision_cfg", "timm_model_name"), "swin_base_patch4_window7_224", "'swin_base.*' is not known"),
        (("vision_cfg", "timm_model_name"), "vit_base_patch16_siglip_224", "is not known"),
        (("vision_cfg", "timm_pool"), "map", "timm_pool = 'map'"),
        (("vision_cfg", "timm_proj"), "", "timm_proj = ''"),
        (("vision_cfg", "image_size"), 384, r"image_size \(384, 384\) differs from the 224"),
        (("vision_cfg", "attentional_pool"), True, "has no attentional_pool = True"),
        (("text_cfg", "hf_pooler_type"), "max_pooler", "hf_pooler_type = 'max_pooler'"),
        (("text_cfg", "hf_proj_type"), None, "hf_proj_type = None"),
        (("text_cfg", "ls_init_value"), 0.1, r"has no ls_init_value = 0\.1"),
    ],
)
def test_what_is_not_known_is_named(tmp_path, path, value, told):
    with pytest.raises(ConfigError, match=told):
        read_layout(recipe(tmp_path, changed(BIOMED, ("model_cfg", *path), value)), "slide")


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("vision_cfg", "layers"), [3, 4, 6, 3], "must be a vision transformer"),
        (("vision_cfg", "patch_size"), 15, "each size be a multiple of its patch"),
        (("text_cfg", "pool_type"), "last", "only the end token is known"),
        (("text_cfg", "no_causal_mask"), True, "no_causal_mask and proj_bias are not known"),
    ],
)
def test_what_open_clips_own_towers_ask_for_is_named(tmp_path, path, value, told):
    own = {**BIOMED, "model_cfg": OWN}
    assert read_layout(recipe(tmp_path, own), "slide").visual.encoder.pre_norm
    with pytest.raises(ConfigError, match=told):
        read_layout(recipe(tmp_path, changed(own, ("model_cfg", *path), value)), "slide")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"mean": [0.5] * 3, "std": None}, "does not say std"),
        ({}, "does not say mean and std"),
        ({**BIOMED["preprocess_cfg"], "interpolation": "random"}, "interpolation 'random'"),
        ({**BIOMED["preprocess_cfg"], "resize_mode": "longest", "fill_color": 7}, "fill_color 7"),
    ],
)
def test_preprocessing_that_the_node_has_not_is_named(tmp_path, settings, told):
    with pytest.raises(ConfigError, match=told):
        read_layout(recipe(tmp_path, {**BIOMED, "preprocess_cfg": settings}), "slide")


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="name the folder as `text_model`"):
        read_layout(recipe(tmp_path, BIOMED, text_model=False), "slide")
    with pytest.raises(ConfigError, match=r"expected one of open_clip_model\.safetensors"):
        load_tower(recipe(tmp_path, {**BIOMED, "model_cfg": OWN}), "slide", 24)
    (tmp_path / "open_clip_config.json").write_text("{}")
    told = OpenClipTowerRecipe(kind="open-clip", path=str(tmp_path))
    with pytest.raises(ConfigError, match="must have model_cfg"):
        read_layout(told, "slide")
