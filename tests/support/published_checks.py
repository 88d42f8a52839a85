"""Makes towers of published shapes out of TOML, and compares them with the models they came from."""

from __future__ import annotations

import json

import torch
from torch import nn

from m3bind.towers.load import load_tower
from m3bind.towers.tables import GenericTowerRecipe
from tests.support.towers import SMALL, TEXTS, word_pieces

SAID = [*TEXTS, "no normal chest radiograph with pleural effusion normal"]
"""The last one is cut by a tower of nine tokens."""


def bert(folder):
    """A small BERT, with its folder as transformers saves it."""
    from transformers import BertConfig, BertModel

    (folder / "text").mkdir()
    config = BertConfig(**SMALL, vocab_size=word_pieces(folder / "text"), max_position_embeddings=32)
    (folder / "text" / "config.json").write_text(json.dumps(config.to_dict()))
    return BertModel(config)


def load(folder, model, toml, dimension, *, key=""):
    """The tower that `toml` makes of the weights of `model`, saved as its authors do."""
    state = model.state_dict()
    torch.save({key: state} if key else state, folder / "model.pt")
    (folder / "tower.toml").write_text(toml)
    recipe = GenericTowerRecipe(kind="generic", path=str(folder / "tower.toml"))
    return load_tower(recipe, "radiograph", dimension)


def stir(model):
    """Every parameter random, of a size at which inputs still show in outputs."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = max(parameter[0].numel(), 1)
                parameter.copy_(torch.randn(parameter.shape) * 1.5 * fan_in**-0.5)
            else:
                parameter.add_(torch.randn(parameter.shape) * 0.3)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "beta")):
                buffer.copy_(torch.randn(buffer.shape) * 0.2)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return model.eval()


def unit(values):
    return nn.functional.normalize(values, dim=-1)


def check_images(tower, inputs, expected):
    with torch.inference_mode():
        embedding, evidence = tower.visual(inputs)
    assert torch.allclose(embedding, unit(expected), atol=1e-5)
    assert (embedding[0] - embedding[1]).abs().max() > 1e-3
    return evidence


def check_texts(tower, expected):
    """`expected` is asked for ids and mask of one text at a time: no padding of others."""
    with torch.inference_mode():
        together = tower.text(**tower.text.tokenize(SAID))
        for row, text in zip(together, SAID, strict=True):
            told = tower.text.tokenize([text])
            assert torch.allclose(row, unit(expected(*told.values()))[0], atol=1e-5), text
