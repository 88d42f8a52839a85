"""The operations that other layouts' preprocessing needs: shorter side, middle, bounds; boxes stay true."""

import numpy as np
import pytest
from PIL import Image

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import BundleFormatError
from dicom_node.pixels.ops import Patch, compile_operations
from dicom_node.records import Box


def apply(values, *operations):
    steps = compile_operations([Operation.model_validate(o) for o in operations])
    height, width = values.shape[:2]
    return steps(Patch(values.astype(np.float32), box=Box(0, 0, width, height)))


@pytest.mark.parametrize(
    ("shape", "edge", "expected"),
    [((90, 70), 35, (45, 35)), ((70, 91), 35, (35, 45)), ((10, 10), 25, (25, 25))],
)
def test_the_shorter_side_becomes_the_edge_and_the_longer_is_cut_to_whole_pixels(shape, edge, expected):
    values = np.random.default_rng(0).random(shape)
    found = apply(values, {"op": "resize_shortest", "edge": edge, "interpolation": "bicubic"})
    image = Image.fromarray(values.astype(np.float32)).resize(expected[::-1], Image.Resampling.BICUBIC)
    assert found.values.shape == expected
    assert np.allclose(found.values, np.asarray(image))
    assert found.box == Box(0, 0, shape[1], shape[0])


def test_the_middle_is_kept_and_its_box_told():
    values = np.arange(80.0).reshape(8, 10)
    found = apply(values, {"op": "center_crop", "size": [4, 6]})
    assert np.array_equal(found.values, values[2:6, 2:8])
    assert found.box == Box(2, 2, 8, 6)
    resized = apply(
        np.zeros((16, 20)), {"op": "resize_shortest", "edge": 8}, {"op": "center_crop", "size": [4, 6]}
    )
    assert resized.box == Box(4, 4, 16, 12)  # in pixels of the source


def test_no_middle_is_made_up():
    with pytest.raises(BundleFormatError, match="put a larger `resize` before it"):
        apply(np.zeros((8, 10)), {"op": "center_crop", "size": [9, 9]})


def test_bounds_hold():
    found = apply(np.array([[-0.2, 0.5, 1.3]]), {"op": "bound", "low": 0.0, "high": 1.0})
    assert np.allclose(found.values, [[0, 0.5, 1]])
    with pytest.raises(BundleFormatError, match="low must be below high"):
        apply(np.zeros((2, 2)), {"op": "bound", "low": 1.0, "high": 0.0})
