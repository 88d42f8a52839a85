"""Towers made elsewhere become ONNX graphs that answer as they do."""

import numpy as np
import onnxruntime
import pytest
import torch

from export.graphs import export_text, export_tower
from m3bind.towers.architecture import ResNetSpec, VisualArchitecture
from m3bind.towers.assemble import assemble
from m3bind.towers.layout import linear
from m3bind.towers.load import load_tower
from m3bind.towers.tables import TransformersTowerRecipe
from tests.support.towers import TEXTS, excite, save_clip

pytestmark = pytest.mark.train

PIXELS = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def outputs_of(path, **inputs):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers = session.run(None, {k: v.numpy() for k, v in inputs.items()})
    return dict(zip([o.name for o in session.get_outputs()], answers, strict=True))


def test_both_towers_are_exported(tmp_path):
    """For any number of images and texts; the student alone goes into a bundle, but any text tower could."""
    save_clip(tmp_path)
    table = TransformersTowerRecipe(kind="transformers-clip", path=str(tmp_path))
    loaded = load_tower(table, "retina", 12)
    export_tower(loaded.visual, (3, 32, 32), tmp_path / "image.onnx")
    export_text(loaded.text, tmp_path / "text.onnx")
    told = loaded.text.tokenize(TEXTS)
    images = outputs_of(tmp_path / "image.onnx", input=PIXELS)
    texts = outputs_of(tmp_path / "text.onnx", **told)
    with torch.inference_mode():
        embedding, evidence = loaded.visual(PIXELS)
        assert evidence is None
        assert set(images) == {"embedding"}  # no evidence is made up
        assert np.allclose(images["embedding"], embedding.numpy(), atol=1e-5)
        assert np.allclose(texts["embedding"], loaded.text(**told).numpy(), atol=1e-5)


def test_a_volume_tower_is_exported_with_its_evidence(tmp_path):
    spec = ResNetSpec(
        axes=3, channels=1, repeat=3, blocks=(1, 1, 1, 1), bottleneck=True, width=4,
        stem_kernel=(3, 7, 7), stem_stride=(1, 2, 2),
    )  # fmt: skip
    architecture = VisualArchitecture(encoder=spec, projection=linear(6))
    tower = excite(assemble(architecture, None, "here"))
    export_tower(tower, (1, 16, 64, 96), tmp_path / "volume.onnx")
    volumes = torch.randn(3, 1, 16, 64, 96, generator=torch.Generator().manual_seed(1))
    answers = outputs_of(tmp_path / "volume.onnx", input=volumes)
    with torch.inference_mode():
        embedding, evidence = tower(volumes)
    assert evidence.shape == (3, 2, 3, 6)
    assert np.allclose(answers["embedding"], embedding.numpy(), atol=1e-5)
    assert np.allclose(answers["evidence"], evidence.numpy(), atol=1e-4)
