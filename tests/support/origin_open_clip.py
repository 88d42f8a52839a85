"""Run by its path, with open_clip, timm and torchvision importable: fills each folder below sys.argv[1] that
has an open_clip_config.json with random weights and with what open_clip makes of a few inputs; then the same
with a ResNet of torchvision."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

# torchvision's compiled operators do not fit this torch: two that its import registers kernels for.
_LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in ("nms", "qnms"):
    _LIBRARY.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

TEXTS = ["no pneumonia", "a chest radiograph with pleural effusion", "normal"]


def excite(model):
    """As in towers.py, which is not importable here."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            spread = 0.2 if parameter.ndim < 2 else 0.7 / parameter[0].numel() ** 0.5
            noise = torch.randn(parameter.shape, generator=generator) * spread
            parameter.copy_(noise + 1 if parameter.ndim == 1 else noise)
        for name, buffer in model.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
            elif name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
    return model.eval()


def open_clip_outputs(folder: Path) -> None:
    import open_clip

    name = f"local-dir:{folder}"
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    model = excite(open_clip.create_model(name, load_weights=False, pretrained_hf=False))
    size = model.visual.image_size
    size = size if isinstance(size, int) else size[0]
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        image = model.encode_image(pixels, normalize=True)
        text = model.encode_text(tokens, normalize=True)
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    np.savez(folder / "outputs.npz", pixels=pixels, image=image, tokens=tokens, text=text)


def torchvision_outputs(folder: Path, name: str) -> None:
    import torchvision

    folder.mkdir()
    model = excite(getattr(torchvision.models, name)())
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, folder / "model.pt")
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    model.fc = torch.nn.Identity()
    with torch.no_grad():
        np.savez(folder / "outputs.npz", pixels=pixels, features=model(pixels))


def main() -> None:
    torch.set_num_threads(1)
    work = Path(sys.argv[1])
    for config in sorted(work.glob("*/open_clip_config.json")):
        open_clip_outputs(config.parent)
    for name in ("resnet18", "resnet50"):
        torchvision_outputs(work / name, name)


if __name__ == "__main__":
    main()
