"""What open_clip, timm and torchvision saved is loaded without them, and answers as they do."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from m3bind.towers.load import load_text, load_tower, load_visual
from m3bind.towers.tables import GenericTowerRecipe, OpenClipTowerRecipe
from tests.support.origin import OPEN_CLIP, run_origin
from tests.support.towers import SMALL, TEXTS, byte_pairs, word_pieces

pytestmark = [pytest.mark.train, pytest.mark.peer]

SCRIPT = Path(__file__).parents[1] / "support" / "origin_open_clip.py"
PREPROCESS = {
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
}
TINY = "vit_tiny_patch16_224"


def write(folder, vision, text, **more):
    model = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, **more}
    told = {"model_cfg": model, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(told))


def bert(folder, **text):
    """A transformers text tower: its tokenizer lies with the weights, its config.json in another folder."""
    model = folder.parent / f"{folder.name}-text"
    model.mkdir()
    folder.mkdir()
    config = {**SMALL, "model_type": "bert", "vocab_size": word_pieces(folder), "max_position_embeddings": 40}
    (model / "config.json").write_text(json.dumps(config))
    return {"hf_model_name": str(model), "hf_tokenizer_name": "-", "context_length": 12, **text}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders by name: as BiomedCLIP, as timm models with a mean or an MLP, and open_clip's own towers."""
    work = tmp_path_factory.mktemp("open_clip")
    biomed = {"timm_model_name": TINY, "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear"}
    cls = {"hf_proj_type": "mlp", "hf_pooler_type": "cls_last_hidden_state_pooler"}
    mean = {"hf_proj_type": "linear", "hf_pooler_type": "mean_pooler"}
    write(work / "biomed", {**biomed, "image_size": 224}, bert(work / "biomed", **cls))
    write(work / "mean", {**biomed, "timm_pool": "avg"}, bert(work / "mean", **mean))
    write(work / "mlp", {**biomed, "timm_proj": "mlp"}, bert(work / "mlp", **mean))
    own = {"layers": 2, "width": 32, "head_width": 16, "patch_size": 8, "image_size": 32}
    for name, quick in (("own", False), ("quick", True)):
        (work / name).mkdir()
        text = {"context_length": 48, "width": 16, "heads": 2, "layers": 2, "hf_tokenizer_name": "-"}
        write(work / name, own, {**text, "vocab_size": byte_pairs(work / name)}, quick_gelu=quick)
    run_origin(SCRIPT, work, OPEN_CLIP)
    return work


@pytest.mark.parametrize("name", ["biomed", "mean", "mlp", "own", "quick"])
def test_outputs_equal_those_of_open_clip(saved, name):
    folder = saved / name
    text_model = saved / f"{name}-text"
    recipe = OpenClipTowerRecipe(
        kind="open-clip", path=str(folder), text_model=str(text_model) if text_model.is_dir() else None
    )
    tower = load_tower(recipe, "slide", 24)
    with np.load(folder / "outputs.npz") as found, torch.inference_mode():
        expected = {k: torch.from_numpy(v) for k, v in found.items()}
        image, evidence = tower.visual(expected["pixels"])
        told = tower.text.tokenize(TEXTS)
        length = told["input_ids"].shape[1]
        assert torch.equal(told["input_ids"], expected["tokens"][:, :length])
        assert torch.allclose(image, expected["image"], atol=1e-5)
        assert torch.allclose(tower.text(**told), expected["text"], atol=1e-5)
    assert (evidence is not None) == (name == "mean")
    if evidence is not None:
        assert evidence.shape == (2, 14, 14, 24)
        mean = torch.nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1)
        assert torch.allclose(mean, expected["image"], atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_a_described_resnet_equals_torchvisions(saved, name):
    folder = saved / name
    (folder / "tower.toml").write_text(f"""
weights = "model.pt"
key = "state_dict"
ignore = ["fc."]
[names]
"" = "image."
[image]
architecture = "{name}"
dialect = "torchvision"
input_shape = [3, 64, 64]
preprocess = [{{ op = "channels_first" }}]
projection = "new"
""")
    tower = load_visual(GenericTowerRecipe(kind="generic", path=str(folder / "tower.toml")), "slide", 8)
    with np.load(folder / "outputs.npz") as found, torch.inference_mode():
        expected = {k: torch.from_numpy(v) for k, v in found.items()}
        features = tower.pooled(tower.lower(expected["pixels"]))
        assert torch.allclose(features, expected["features"], rtol=1e-4, atol=1e-5)


def test_a_described_vit_equals_timms(saved):
    """The weights of timm's encoder inside an open_clip file, told as a generic tower."""
    folder = saved / "mean"
    (folder / "tower.toml").write_text("""
weights = "open_clip_model.safetensors"
ignore = ["logit_scale", "text."]
[names]
"visual.trunk." = "image."
"visual.head.proj." = "image_projection.0."
[image]
architecture = "vit"
dialect = "timm"
input_shape = [3, 224, 224]
preprocess = [{ op = "channels_first" }]
projection = [{ layer = "linear", out = 24, bias = false }]
options = { patch = [16, 16], width = 192, depth = 12, heads = 3, inner = 768, pooling = "mean" }
""")
    tower = load_visual(GenericTowerRecipe(kind="generic", path=str(folder / "tower.toml")), "slide", 24)
    with np.load(folder / "outputs.npz") as found, torch.inference_mode():
        pixels, image = torch.from_numpy(found["pixels"]), torch.from_numpy(found["image"])
        assert torch.allclose(tower(pixels)[0], image, atol=1e-5)


def test_the_text_tower_is_not_needed_for_the_image_tower_but_its_config_is(saved):
    from dicom_node.errors import ConfigError

    recipe = OpenClipTowerRecipe(kind="open-clip", path=str(saved / "biomed"))
    with pytest.raises(ConfigError, match="name the folder as `text_model`"):
        load_text(recipe, "slide", 24)
