"""The inflated ResNet-152 has the shape of Astra's published backbone; its weights are tried elsewhere."""

import pytest
import torch

from m3bind.towers.resnet import NAMED, ResNet

pytestmark = pytest.mark.train


def test_the_inflated_resnet_has_the_published_shape():
    with torch.device("meta"):
        state = ResNet(NAMED["i3resnet152"]).state_dict()
    # 930 tensors; 117,517,632 numbers without the 155 counters of the batch norms
    assert len(state) == 930
    counted = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(counted) == 775
    assert sum(v.numel() for v in counted.values()) == 117_517_632
    assert state["stem.conv1.weight"].shape == (64, 3, 3, 7, 7)
    assert state["layer3.35.conv2.weight"].shape == (256, 256, 3, 3, 3)
