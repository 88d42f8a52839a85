"""Small random models, saved in the layouts of others by the libraries that define them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel

TEXTS = ["no pneumonia", "a chest radiograph with pleural effusion", "normal"]
WORDS = ["a", "no", "with", "normal", "chest", "radiograph", "pneumonia", "pleural", "effusion"]
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
IMAGES = {"image_size": 32, "patch_size": 8}


def excite(model):
    """Every parameter random and large enough that an error of order or of sign shows."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
    return model.eval()


def byte_pairs(folder: Path) -> int:
    """A tokenizer of CLIP's kind: byte pairs, padded with the end token. Gives the size of its vocabulary."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*alphabet, *(f"{c}</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]
    numbers = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.BPE(numbers, [], end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = ByteLevel()
    start, end = numbers["<|startoftext|>"], numbers["<|endoftext|>"]
    tokenizer.post_processor = processors.RobertaProcessing(
        ("<|endoftext|>", end), ("<|startoftext|>", start), trim_offsets=False, add_prefix_space=False
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    _configure(folder, "<|endoftext|>")
    return len(vocabulary)


def word_pieces(folder: Path) -> int:
    """A tokenizer of BERT's kind. Gives the size of its vocabulary."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    numbers = {token: i for i, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    _configure(folder, "[PAD]")
    return len(vocabulary)


def _configure(folder: Path, pad: str) -> None:
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": pad}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))


def image_processor(folder: Path, **settings: object) -> None:
    """preprocessor_config.json as CLIP has it, changed by `settings`."""
    told = {
        "do_resize": True,
        "size": {"shortest_edge": 32},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "do_convert_rgb": True,
        "image_processor_type": "CLIPImageProcessor",
        **settings,
    }
    kept = {k: v for k, v in told.items() if v is not None}
    (folder / "preprocessor_config.json").write_text(json.dumps(kept))


def save_clip(folder: Path):
    """PLIP's and PubMedCLIP's layout."""
    from transformers import CLIPConfig, CLIPModel

    folder.mkdir(parents=True, exist_ok=True)
    size = byte_pairs(folder)
    text = {**SMALL, "vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1}
    text |= {"pad_token_id": size - 1, "max_position_embeddings": 48}
    config = CLIPConfig(text_config=text, vision_config={**SMALL, **IMAGES}, projection_dim=12)
    model = excite(CLIPModel(config))
    model.save_pretrained(folder)
    image_processor(folder)
    return model


def save_siglip(folder: Path):
    """MedSigLIP's layout."""
    from transformers import SiglipConfig, SiglipModel

    folder.mkdir(parents=True, exist_ok=True)
    size = word_pieces(folder)
    text = {**SMALL, "vocab_size": size, "max_position_embeddings": 10, "projection_size": 16}
    text |= {"bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    model = excite(SiglipModel(SiglipConfig(text_config=text, vision_config={**SMALL, **IMAGES})))
    model.save_pretrained(folder)
    image_processor(
        folder,
        size={"height": 32, "width": 32},
        resample=2,
        do_center_crop=None,
        crop_size=None,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        image_processor_type="SiglipImageProcessor",
    )
    return model


def save_dual(folder: Path, vision: str = "vit"):
    """An image model and BERT, bound by VisionTextDualEncoderModel."""
    from transformers import (
        BertConfig,
        BertModel,
        CLIPVisionConfig,
        CLIPVisionModel,
        VisionTextDualEncoderConfig,
        VisionTextDualEncoderModel,
        ViTConfig,
        ViTModel,
    )

    folder.mkdir(parents=True, exist_ok=True)
    size = word_pieces(folder)
    text = BertConfig(**SMALL, vocab_size=size, max_position_embeddings=32)
    if vision == "vit":
        image, see = ViTConfig(**SMALL, **IMAGES), ViTModel
    else:
        image, see = CLIPVisionConfig(**SMALL, **IMAGES), CLIPVisionModel
    config = VisionTextDualEncoderConfig.from_vision_text_configs(image, text, projection_dim=12)
    model = VisionTextDualEncoderModel(config, vision_model=see(image), text_model=BertModel(text))
    excite(model).save_pretrained(folder)
    image_processor(
        folder,
        size={"height": 32, "width": 32},
        resample=2,
        do_center_crop=None,
        crop_size=None,
        image_processor_type="ViTImageProcessor",
    )
    return model
