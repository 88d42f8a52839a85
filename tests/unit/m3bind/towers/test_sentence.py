"""Text models of transformers answer from word embeddings as they do from numbers, whatever their kind."""

import pytest
import torch

from dicom_node.errors import ConfigError
from m3bind.towers.architecture import HuggingFaceTextSpec, TextArchitecture
from m3bind.towers.layout import linear
from m3bind.towers.sentence import build_text
from m3bind.towers.tokens import load_tokens
from m3bind.towers.transformers_layout import longest
from tests.support.towers import SMALL, TEXTS, excite, word_pieces

pytestmark = pytest.mark.train

KINDS = {
    "bert": (dict(SMALL), ("query", "value")),
    "roberta": ({**SMALL, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}, ("query", "value")),
    "distilbert": ({"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2}, ("q_lin", "v_lin")),
}


def made(folder, kind, pooling):
    from transformers import AutoConfig, AutoModel

    told, _ = KINDS[kind]
    size = word_pieces(folder)
    config = AutoConfig.for_model(kind, **told, vocab_size=size, max_position_embeddings=24)
    model = excite(AutoModel.from_config(config))
    architecture = TextArchitecture(
        encoder=HuggingFaceTextSpec(config=config.to_dict(), pooling=pooling),
        projection=linear(6),
        max_tokens=longest(config.to_dict()),
    )
    weight = torch.randn(6, 16, generator=torch.Generator().manual_seed(2))
    state = {f"upper.{k}": v for k, v in model.state_dict().items()} | {"projection.0.weight": weight}
    if pooling != "pooler":
        state = {k: v for k, v in state.items() if not k.startswith("upper.pooler.")}
    tokens = load_tokens(folder, architecture.max_tokens)
    return build_text(architecture, tokens, state, "here"), model, weight


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        ("bert", "class"), ("bert", "mean"), ("bert", "pooler"), ("roberta", "mean"),
        ("roberta", "pooler"), ("distilbert", "class"),
    ],
)  # fmt: skip
def test_a_text_model_answers_as_in_transformers(tmp_path, kind, pooling):
    tower, model, weight = made(tmp_path, kind, pooling)
    told = tower.tokenize(TEXTS)
    with torch.inference_mode():
        out = model(**told)
        mask = told["attention_mask"][:, :, None]
        states = {
            "class": out.last_hidden_state[:, 0],
            "mean": (out.last_hidden_state * mask).sum(1) / mask.sum(1),
            "pooler": getattr(out, "pooler_output", None),
        }
        expected = torch.nn.functional.normalize(states[pooling] @ weight.T, dim=-1)
        assert torch.allclose(tower(**told), expected, atol=1e-5)
    assert tower.lora_targets == KINDS[kind][1]
    assert len(tower.layers()) == 2
    longest_text = tower.tokenize(["normal " * 40])
    assert torch.isfinite(tower(**longest_text)).all()  # the tokenizer cuts before positions run out


def test_words_are_frozen_and_the_rest_is_not(tmp_path):
    tower, _, _ = made(tmp_path, "bert", "class")
    still = [n for n, p in tower.named_parameters() if not p.requires_grad]
    assert still == ["upper.embeddings.word_embeddings.weight"]


def test_a_model_that_transformers_does_not_know(tmp_path):
    word_pieces(tmp_path)
    spec = HuggingFaceTextSpec(config={"model_type": "oracle", "vocab_size": 3}, pooling="class")
    architecture = TextArchitecture(encoder=spec, projection=linear(6), max_tokens=8)
    with pytest.raises(ConfigError, match="cannot make the text model 'oracle'"):
        build_text(architecture, load_tokens(tmp_path, 8), None, "here")
