"""A text tower's tokenizer is its own, whatever files it comes in, or there is none."""

import json

import pytest

from dicom_node.errors import ConfigError
from m3bind.towers.tokens import load_tokens
from tests.support.towers import TEXTS, WORDS, byte_pairs, word_pieces

pytestmark = pytest.mark.train


def configure(folder, **told):
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def test_word_pieces_from_a_plain_vocabulary(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    configure(tmp_path, tokenizer_class="BertTokenizer", pad_token="[PAD]", do_lower_case=True)
    fast = tmp_path / "fast"
    fast.mkdir()
    word_pieces(fast)
    slow, quick = load_tokens(tmp_path, 16)(TEXTS), load_tokens(fast, 16)(TEXTS)
    assert slow["input_ids"].tolist() == quick["input_ids"].tolist()
    assert slow["attention_mask"].tolist() == quick["attention_mask"].tolist()


def test_byte_pairs_from_vocabulary_and_merges(tmp_path):
    from transformers import CLIPTokenizer

    symbols = [chr(c) for c in range(97, 123)]
    tokens = [*symbols, *(f"{s}</w>" for s in symbols), "no</w>", "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nn o</w>\n")
    configure(tmp_path, tokenizer_class="CLIPTokenizer", pad_token="<|endoftext|>")
    theirs = CLIPTokenizer.from_pretrained(tmp_path)(TEXTS, padding=True)["input_ids"]
    found = load_tokens(tmp_path, 77)(TEXTS)["input_ids"].tolist()
    assert found == theirs
    assert found[0][:2] == [tokens.index("<|startoftext|>"), tokens.index("no</w>")]


def test_the_end_token_stays_where_a_text_is_cut(tmp_path):
    end = byte_pairs(tmp_path) - 1
    ids = load_tokens(tmp_path, 8)(TEXTS)["input_ids"]
    assert ids.shape == (3, 8)
    assert ids[1, -1] == end


def test_a_fixed_length_is_shown_whole(tmp_path):
    word_pieces(tmp_path)
    told = load_tokens(tmp_path, 9, fixed=True)(["normal"])
    assert told["input_ids"].tolist() == [[2, 8, 3, 0, 0, 0, 0, 0, 0]]
    assert told["attention_mask"].tolist() == [[1] * 9]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(
        ConfigError, match=r"expected tokenizer\.json or vocab\.json \+ merges\.txt or vocab\.txt"
    ):
        load_tokens(tmp_path, 8)
    (tmp_path / "vocab.txt").write_text("[PAD]")
    with pytest.raises(ConfigError, match=r"no tokenizer_config\.json"):
        load_tokens(tmp_path, 8)
    word_pieces(tmp_path)
    configure(tmp_path)
    with pytest.raises(ConfigError, match="names no padding token"):
        load_tokens(tmp_path, 8)


def test_a_broken_tokenizer_is_told(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json is no tokenizer that can be read"):
        load_tokens(tmp_path, 16)
