"""What transformers saved is loaded back, and answers as transformers does."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch, compile_operations
from m3bind.towers.load import load_text, load_tower, load_visual
from m3bind.towers.tables import TransformersTowerRecipe
from tests.support.towers import TEXTS, image_processor, save_clip, save_dual, save_siglip

pytestmark = pytest.mark.train

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def table(folder, **more):
    return TransformersTowerRecipe(kind="transformers-clip", path=str(folder), **more)


def unit(values):
    return torch.nn.functional.normalize(values, dim=-1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return folder, save_clip(folder)


def check_images(folder, model, dimension, reader="retina"):
    tower = load_visual(table(folder), reader, dimension)
    with torch.inference_mode():
        ours, evidence = tower(PIXELS)
        theirs = unit(model.get_image_features(pixel_values=PIXELS).pooler_output)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert evidence is None  # a class token, or attention, is no mean of places
    return tower


def check_texts(folder, model, dimension, **more):
    from transformers import AutoTokenizer

    tower = load_text(table(folder), "retina", dimension)
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS, return_tensors="pt", **{"padding": True, **more})
    with torch.inference_mode():
        told = {k: tokens[k] for k in more.get("keys", ("input_ids", "attention_mask"))}
        theirs = unit(model.get_text_features(**told).pooler_output)
        assert torch.equal(tower.tokenize(TEXTS)["input_ids"], tokens["input_ids"])
        assert torch.allclose(tower(**tower.tokenize(TEXTS)), theirs, atol=1e-5)
        alone = tower(**tower.tokenize(TEXTS[:1]))
    assert torch.allclose(alone, theirs[:1], atol=1e-5)
    return tower


def test_clip(clip):
    folder, model = clip
    check_images(folder, model, 12)
    check_texts(folder, model, 12)


def test_siglip(tmp_path):
    model = save_siglip(tmp_path)
    tower = check_images(tmp_path, model, 16)
    assert torch.equal(tower.projection[0].weight, torch.eye(16))
    from transformers import AutoTokenizer

    text = load_text(table(tmp_path), "retina", 16)
    ids = AutoTokenizer.from_pretrained(tmp_path)(
        TEXTS, return_tensors="pt", padding="max_length", max_length=10, truncation=True
    )["input_ids"]
    with torch.inference_mode():
        theirs = unit(model.get_text_features(input_ids=ids).pooler_output)
        told = text.tokenize(TEXTS)
        assert torch.equal(told["input_ids"], ids)
        assert bool(told["attention_mask"].all())  # SigLIP looks at the padding too
        assert torch.allclose(text(**told), theirs, atol=1e-5)


@pytest.mark.parametrize("vision", ["vit", "clip"])
def test_dual_encoder(tmp_path, vision):
    model = save_dual(tmp_path, vision)
    check_images(tmp_path, model, 12)
    check_texts(tmp_path, model, 12)


def test_frozen_stages_change_no_answer_and_do_not_train(clip):
    folder, _ = clip
    whole, split = (load_visual(table(folder, frozen=n), "retina", 12) for n in (0, 2))
    with torch.inference_mode():
        assert torch.allclose(whole(PIXELS)[0], split(PIXELS)[0], atol=1e-6)
        lower = split.lower(PIXELS)
        assert torch.allclose(split.project(split.pooled(lower)), whole(PIXELS)[0], atol=1e-6)
        assert torch.equal(whole.lower(PIXELS), PIXELS)
    assert not any(p.requires_grad for p in split.lower.parameters())
    assert all(p.requires_grad for part in split.trained() for p in part.parameters())


def test_a_wider_space_keeps_every_cosine(clip):
    folder, _ = clip
    narrow, wide = (load_tower(table(folder), "retina", d) for d in (12, 20))
    with torch.inference_mode():
        cosines = []
        for both in (narrow, wide):
            texts = both.text(**both.text.tokenize(TEXTS))
            cosines.append(both.visual(PIXELS)[0] @ texts.T)
    assert wide.visual.dimension == wide.text.dimension == 20
    assert torch.allclose(*cosines, atol=1e-6)


def test_a_narrower_space_is_refused(clip):
    with pytest.raises(ConfigError, match="have 12 dimensions, the recipe 8"):
        load_visual(table(clip[0]), "retina", 8)


def test_preprocessing_is_that_of_the_image_processor(clip):
    folder, _ = clip
    image_processor(folder, size={"shortest_edge": 40})  # the longer side becomes 51.4, so it is cut
    from transformers import CLIPImageProcessorPil

    random = np.random.default_rng(0)
    smooth = Image.fromarray(random.integers(0, 255, (12, 9, 3), np.uint8)).resize((90, 70), 3)
    theirs = CLIPImageProcessorPil.from_pretrained(folder)(smooth, return_tensors="np")["pixel_values"][0]
    step = compile_operations(load_tower(table(folder), "retina", 12).preprocess)
    ours = step(Patch(np.asarray(smooth, np.float32) / 255)).values
    image_processor(folder)
    assert ours.shape == (3, 32, 32)
    # Their two roundings to 8 bits, in units of the deviation.
    assert np.abs(ours - theirs).max() < 2 / 255 / 0.26


def test_grey_readers_are_given_three_channels(clip):
    tower = load_tower(table(clip[0]), "radiograph", 12)
    step = compile_operations(tower.preprocess)
    assert step(Patch(np.zeros((50, 40), np.float32))).values.shape == tower.input_shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"resample": 1}, "resample = 1"),
        ({"rescale_factor": 1 / 127.5}, "rescale_factor"),
        ({"do_center_crop": False}, "needs do_center_crop"),
        ({"do_pad": True}, "no operation for do_pad"),
        ({"crop_size": {"height": 28, "width": 28}}, "takes \\(32, 32\\)"),
        ({"image_mean": None}, "does not say image_mean"),
        ({"do_normalize": False}, "do_normalize = False"),
        ({"size": {"shortest_edge": 16}}, "needs padding"),
    ],
)
def test_what_the_node_cannot_do_is_named(clip, settings, told):
    folder, _ = clip
    image_processor(folder, **settings)
    try:
        with pytest.raises(ConfigError, match=told):
            load_tower(table(folder), "retina", 12)
    finally:
        image_processor(folder)


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        ("tokenizer.json", "has no tokenizer: expected tokenizer.json or vocab.json"),
        ("preprocessor_config.json", "has no preprocessor_config.json"),
        ("config.json", "config.json is missing"),
        ("model.safetensors", "expected one of model.safetensors"),
    ],
)
def test_a_missing_file_is_named(tmp_path, gone, told):
    save_clip(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(ConfigError, match=told):
        load_tower(table(tmp_path), "retina", 12)


def test_weights_that_do_not_fit_are_named(tmp_path):
    save_clip(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    first = "vision_model.encoder.layers.0.self_attn.q_proj.bias"
    save_file({k: v for k, v in state.items() if k != first}, path)
    with pytest.raises(ConfigError, match=r"1 weights are missing: blocks\.0\.attention\.query\.bias"):
        load_visual(table(tmp_path), "retina", 12)
    save_file({**state, "vision_model.extra.weight": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match=r"1 have no place: extra\.weight"):
        load_visual(table(tmp_path), "retina", 12)
    save_file({**state, "decoder.weight": torch.zeros(2)}, path)
    with pytest.raises(ConfigError, match=r"does not know: decoder\.weight"):
        load_visual(table(tmp_path), "retina", 12)
    save_file({**state, first: torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match=r"query\.bias \(3,\) instead of \(16,\)"):
        load_visual(table(tmp_path), "retina", 12)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    save_siglip(tmp_path / "siglip")
    save_clip(tmp_path / "clip")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "siglip" / name).write_bytes((tmp_path / "clip" / name).read_bytes())
    with pytest.raises(ConfigError, match="tokens, the text encoder rows for"):
        load_text(table(tmp_path / "siglip"), "retina", 16)


def test_another_model_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "blip"}))
    with pytest.raises(ConfigError, match="model_type 'blip'"):
        load_tower(table(tmp_path), "retina", 12)


def test_old_files_and_parts_are_read(tmp_path):
    """Names and files as transformers 4 wrote them: a torch file, position_ids, and parts with an index."""
    model = save_clip(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    path.unlink()
    state["vision_model.embeddings.position_ids"] = torch.arange(17)[None]
    state["text_model.embeddings.position_ids"] = torch.arange(48)[None]
    torch.save(state, tmp_path / "pytorch_model.bin")
    check_images(tmp_path, model, 12)
    (tmp_path / "pytorch_model.bin").unlink()
    names, index = sorted(state), {}
    for part, chosen in (("a.safetensors", names[::2]), ("b.safetensors", names[1::2])):
        save_file({k: state[k] for k in chosen}, tmp_path / part)
        index |= dict.fromkeys(chosen, part)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    check_images(tmp_path, model, 12)
