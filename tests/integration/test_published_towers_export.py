"""The encoders of CT-CLIP, CONCH and MERL become ONNX graphs that answer as they do."""

import numpy as np
import onnxruntime
import pytest
import torch

from export.graphs import export_tower
from m3bind.towers.architecture import FactorisedViTSpec, ResNetSpec, VisualArchitecture, ViTSpec
from m3bind.towers.assemble import assemble
from m3bind.towers.layout import linear
from tests.support.published_checks import stir

pytestmark = pytest.mark.train

SPECS = {
    "ct-clip": FactorisedViTSpec(
        size=(4, 8, 12),
        patch=(2, 4, 4),
        width=12,
        heads=2,
        head_width=4,
        spatial_depth=1,
        temporal_depth=1,
        codebook=6,
    ),
    "conch": ViTSpec(
        size=(16, 16),
        patch=(8, 8),
        width=8,
        depth=1,
        heads=2,
        inner=16,
        pooling="query",
        pool_width=6,
        pool_heads=2,
    ),
    "merl": ResNetSpec(
        axes=1,
        channels=12,
        blocks=(1, 1, 1, 1),
        bottleneck=False,
        width=4,
        stem_kernel=(7,),
        stem_stride=(2,),
        stem_pool=False,
        pooling="class-attention",
        pool_width=6,
        pool_heads=2,
        pool_places=4,
    ),
}
SHAPES = {"ct-clip": (1, 4, 8, 12), "conch": (3, 16, 16), "merl": (12, 64)}


@pytest.mark.parametrize("name", SPECS)
def test_published_encoders_are_exported(tmp_path, name):
    architecture = VisualArchitecture(encoder=SPECS[name], projection=linear(5))
    tower = stir(assemble(architecture, None, "here"))
    assert export_tower(tower, SHAPES[name], tmp_path / "image.onnx") == ("embedding",)
    inputs = torch.randn(3, *SHAPES[name])
    session = onnxruntime.InferenceSession(tmp_path / "image.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"input": inputs.numpy()})
    with torch.inference_mode():
        embedding = tower(inputs)[0].numpy()
    assert np.allclose(answer, embedding, atol=1e-5)
    assert np.abs(answer[0] - answer[1]).max() > 1e-3
