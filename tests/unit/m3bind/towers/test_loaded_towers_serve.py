"""A loaded tower serves every stage through the base classes alone: it trains and takes adapters."""

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import ConfigError
from m3bind.config import ModalityRecipe
from m3bind.losses import contrastive
from m3bind.towers.load import check_modality, load_tower, operations_toml
from m3bind.towers.tables import TransformersTowerRecipe
from tests.support.towers import TEXTS, save_clip, save_dual, save_siglip

pytestmark = pytest.mark.train

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
SAVERS = {"clip": (save_clip, 12), "siglip": (save_siglip, 16), "dual": (save_dual, 12)}


@pytest.fixture(params=SAVERS)
def loaded(request, tmp_path):
    save, dimension = SAVERS[request.param]
    save(tmp_path)
    table = TransformersTowerRecipe(kind="transformers-clip", path=str(tmp_path), frozen=1)
    return load_tower(table, "retina", dimension)


def loss_of(loaded, lower, hidden, mask):
    images = loaded.visual.project(loaded.visual.pooled(lower))
    texts = loaded.text.from_lower(hidden, mask)
    return contrastive(images, texts, torch.eye(3), torch.tensor(10.0))


def cached(loaded):
    told = loaded.text.tokenize(TEXTS)
    with torch.no_grad():
        return loaded.visual.lower(PIXELS), loaded.text.hidden(**told), told["attention_mask"]


def test_two_contrastive_steps_lower_the_loss_and_leave_the_frozen_part(loaded):
    visual, text = loaded.visual, loaded.text
    inputs = cached(loaded)
    before = {k: v.clone() for k, v in visual.lower.state_dict().items()}
    trained = [*visual.trained(), visual.projection, text.layers()[-1], text.projection]
    parameters = [p for part in trained for p in part.parameters() if p.requires_grad]
    assert parameters
    optimizer = torch.optim.AdamW(parameters, lr=2e-3)
    losses = []
    for _ in range(3):
        loss = loss_of(loaded, *inputs)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[2] < losses[1] < losses[0]
    assert all(torch.equal(v, before[k]) for k, v in visual.lower.state_dict().items())


def adapted(tower):
    """Adapters beside query and value, as stage 1 puts them."""
    parts = tower.trained() if hasattr(tower, "trained") else [tower.upper]
    config = LoraConfig(r=2, lora_alpha=2, target_modules=list(tower.lora_targets), bias="none")
    tower.requires_grad_(False)
    for part in parts:
        if any(name.split(".")[-1] in tower.lora_targets for name, _ in part.named_modules()):
            inject_adapter_in_model(config, part)
    return parts


def merge(parts):
    for part in parts:
        for parent in list(part.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, LoraLayer):
                    child.merge()
                    setattr(parent, name, child.get_base_layer())


def test_adapters_train_and_merge_into_the_same_answers(loaded):
    names = list(loaded.visual.state_dict()), list(loaded.text.state_dict())
    parts = [*adapted(loaded.visual), *adapted(loaded.text)]
    inputs = cached(loaded)
    adapters = [p for t in (loaded.visual, loaded.text) for p in t.parameters() if p.requires_grad]
    # two blocks of the text tower, one open block of the image tower (and SigLIP's probe), two matrices each
    assert len(adapters) >= 2 * 2 * 3
    optimizer = torch.optim.AdamW(adapters, lr=1e-2)
    first = loss_of(loaded, *inputs)
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(loaded, *inputs)
        loss.backward()
        optimizer.step()
    loaded.visual.eval(), loaded.text.eval()
    with torch.inference_mode():
        told = loaded.text.tokenize(TEXTS)
        images, texts = loaded.visual(PIXELS)[0], loaded.text(**told)
        assert float(loss_of(loaded, *inputs)) < float(first)
        merge(parts)
        assert (list(loaded.visual.state_dict()), list(loaded.text.state_dict())) == names
        assert torch.allclose(loaded.visual(PIXELS)[0], images, atol=1e-5)
        assert torch.allclose(loaded.text(**told), texts, atol=1e-5)


def modality(table, loaded, **change):
    told = {
        "datasets": ("nih",),
        "reader": "retina",
        "input_shape": loaded.input_shape,
        "preprocess": [o.model_dump() for o in loaded.preprocess],
        "steps": 1,
        "tower": table.model_dump(),
        **change,
    }
    return ModalityRecipe.model_validate(told)


def test_a_recipe_must_show_a_tower_what_it_knows(tmp_path):
    save_clip(tmp_path)
    table = TransformersTowerRecipe(kind="transformers-clip", path=str(tmp_path))
    loaded = load_tower(table, "retina", 12)
    check_modality(modality(table, loaded))
    with pytest.raises(ConfigError, match=r"input_shape of the modality is \[3, 224, 224\]"):
        check_modality(modality(table, loaded, input_shape=(3, 224, 224)))
    plain = [Operation(op="channels_first").model_dump()]
    with pytest.raises(ConfigError, match=r"op = \"normalise\", mean = \[0\.48145466, 0\.4578275"):
        check_modality(modality(table, loaded, preprocess=plain))


def test_operations_are_told_as_a_recipe_reads_them(tmp_path):
    import tomllib

    save_clip(tmp_path)
    table = TransformersTowerRecipe(kind="transformers-clip", path=str(tmp_path))
    preprocess = load_tower(table, "radiograph", 12).preprocess
    raw = tomllib.loads(operations_toml(preprocess))["preprocess"]
    assert tuple(Operation.model_validate(o) for o in raw) == preprocess
