"""Features are those of the tower, and computed once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from m3bind.config import load_recipe
from m3bind.data.examples import Example
from m3bind.data.features import inputs
from m3bind.evaluate.features import at_size, trunk_features
from m3bind.evaluate.probe import rocket
from m3bind.evaluate.systems import project
from m3bind.towers.image import ImageTower

pytestmark = pytest.mark.train


@pytest.fixture
def found(tmp_path):
    random = np.random.default_rng(0)
    examples = []
    for i in range(3):
        path = tmp_path / f"{i}.png"
        Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
        examples.append(Example("pathology", "lc25000", path, "slide", "val", str(i), {}))
    return examples


def test_features_equal_the_towers_and_are_kept_for_towers_that_share_a_trunk(found, tmp_path):
    part = at_size(load_recipe("mini").modalities["pathology"], 64)
    torch.manual_seed(0)
    tower = ImageTower(8, 14, pretrained=False)
    told = []
    features = trunk_features(tower, part, found, tmp_path / "cache", "x", told.append)
    with torch.inference_mode():
        shown = torch.from_numpy(inputs(part, found))
        assert torch.from_numpy(features).allclose(tower.pooled(tower.lower(shown)), atol=1e-4)
        assert torch.from_numpy(project(tower, features)).float().allclose(tower(shown)[0], atol=1e-4)
    torch.nn.init.normal_(tower.projection.weight)
    assert (trunk_features(tower, part, found, tmp_path / "cache", "x", told.append) == features).all()
    assert len(told) == 1
    next(tower.lower.parameters()).data.add_(1.0)
    trunk_features(tower, part, found, tmp_path / "cache", "x", told.append)
    assert len(told) == 2


def test_no_examples_have_no_features(tmp_path):
    part = load_recipe("mini").modalities["pathology"]
    tower = ImageTower(8, 14, pretrained=False)
    assert trunk_features(tower, part, [], tmp_path, "x", print).shape == (0, tower.features)
    assert not list(Path(tmp_path).iterdir())


def test_random_kernels_are_the_same_each_time():
    signals = np.random.default_rng(0).normal(size=(2, 12, 200)).astype(np.float32)
    told = rocket(signals, kernels=20)
    assert told.shape == (2, 40)
    assert (told == rocket(signals, kernels=20)).all()
    assert ((told[:, 1::2] >= 0) & (told[:, 1::2] <= 1)).all()
