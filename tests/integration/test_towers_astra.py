"""A real pretrained 3-D tower: Astra's chest CT backbone, described by a TOML file, on real CT slices.

188 MB are fetched once, and only where M3BIND_TEST_ASTRA=1 asks for it.
"""

import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from dicom_node.bundle.manifest import Operation
from dicom_node.pixels.ops import Patch, compile_operations
from m3bind.data.sources import data_root
from m3bind.towers.load import load_visual
from m3bind.towers.tables import GenericTowerRecipe
from tests.support.origin import ASTRA, run_origin

pytestmark = [
    pytest.mark.train,
    pytest.mark.data,
    pytest.mark.peer,
    pytest.mark.skipif(
        os.environ.get("M3BIND_TEST_ASTRA") != "1", reason="fetches 188 MB: set M3BIND_TEST_ASTRA=1"
    ),
]

SCRIPT = Path(__file__).parents[1] / "support" / "origin_astra.py"
DEPTH, SIDE = 16, 96
TOWER = f"""
weights = "astra_encoder.pt"
key = "state_dict"
[names]
"" = "image."
[image]
architecture = "i3resnet152"
dialect = "torchvision"
input_shape = [1, {DEPTH}, {SIDE}, {SIDE}]   # slices from feet to head, then R, then A
preprocess = [{{ op = "window", center = -400.0, width = 1200.0 }}]
projection = "new"
"""


def slabs():
    """(12, X, Y, Z) float32, 0 to 1: each of the twelve real slices, as a slab of equal slices."""
    step = compile_operations(
        [
            Operation.model_validate({"op": "window", "center": -400.0, "width": 1200.0}),
            Operation.model_validate({"op": "resize", "size": [SIDE, SIDE], "mode": "stretch"}),
        ]
    )
    found = []
    for path in sorted((data_root() / "ct" / "tcia_slices").glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        hounsfield = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        # rows run to the back and columns to the left; Astra's axes run to the right and to the front
        values = step(Patch(hounsfield.astype(np.float32))).values[::-1, ::-1].T
        found.append(np.repeat(values[:, :, None], DEPTH, axis=2))
    return np.stack(found)


def test_features_of_real_slices_equal_those_of_astras_own_code(tmp_path):
    volumes = slabs()
    assert volumes.shape == (12, SIDE, SIDE, DEPTH)
    np.savez(tmp_path / "volumes.npz", volumes=np.ascontiguousarray(volumes))
    run_origin(SCRIPT, tmp_path, ASTRA)
    (tmp_path / "tower.toml").write_text(TOWER)
    recipe = GenericTowerRecipe(kind="generic", path=str(tmp_path / "tower.toml"), frozen=5)
    torch.manual_seed(0)
    tower = load_visual(recipe, "ct", 32)
    with np.load(tmp_path / "maps.npz") as found:
        maps = torch.from_numpy(found["maps"])
    inputs = torch.from_numpy(np.ascontiguousarray(volumes.transpose(0, 3, 1, 2)[:, None]))
    with torch.inference_mode():
        lower = torch.cat([tower.lower(one[None]) for one in inputs])
        features = tower.pooled(lower)
        evidence = tower.from_lower(lower)
        embedding = tower.project(features)
    assert features.shape == (12, 2048)
    assert torch.allclose(lower, maps, rtol=1e-3, atol=1e-4)
    assert torch.allclose(features, maps.mean(dim=(2, 3, 4)), rtol=1e-3, atol=1e-4)
    mean = torch.nn.functional.normalize(evidence.mean(dim=(1, 2)), dim=-1)
    assert torch.allclose(mean, embedding, atol=1e-5)
    # It sees patients apart: pretrained weights, not merely the right names.
    assert features.std(dim=0).max() > 0.1
