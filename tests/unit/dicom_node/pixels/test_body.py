"""The torso on an axial slice: found, cropped to, and nothing else left."""

import numpy as np
import pytest

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.body import GRID, crop_to_torso, torso
from dicom_node.pixels.ops import Patch, compile_operations
from dicom_node.records import Box

AIR, TISSUE = -1000.0, 40.0


def slice_of_a_chest(size: int = 256, noise: float = 0.0) -> np.ndarray:
    """An ellipse of tissue with two lungs of air, a thin table below it, an arm that lies apart."""
    y, x = np.mgrid[:size, :size] / size
    values = np.full((size, size), AIR, dtype=np.float32)
    values[((x - 0.5) / 0.35) ** 2 + ((y - 0.45) / 0.25) ** 2 < 1] = TISSUE
    for middle in (0.35, 0.65):
        values[((x - middle) / 0.1) ** 2 + ((y - 0.45) / 0.15) ** 2 < 1] = -850.0
    values[(y > 0.8) & (y < 0.81)] = 100.0
    values[((x - 0.06) / 0.04) ** 2 + ((y - 0.45) / 0.04) ** 2 < 1] = TISSUE
    values += np.random.default_rng(0).normal(0, noise, values.shape).astype(np.float32) if noise else 0
    return values


@pytest.mark.parametrize("noise", [0.0, 80.0])
def test_the_torso_is_found_with_its_lungs_and_without_table_and_arm(noise: float) -> None:
    grid = torso(slice_of_a_chest(noise=noise), -400.0)
    assert grid is not None
    assert grid.shape == (GRID, GRID)
    assert grid[int(0.45 * GRID), int(0.35 * GRID)]  # in a lung
    assert not grid[int(0.805 * GRID)].any()
    assert not grid[:, : int(0.1 * GRID)].any()


def test_the_crop_is_tight_tells_where_it_was_and_fills_what_is_beside() -> None:
    values = slice_of_a_chest()
    part, (left, top, right, bottom) = crop_to_torso(values, -400.0, -1024.0)
    cell = 256 / GRID
    expected = np.array([0.15, 0.2, 0.85, 0.7]) * 256
    assert np.allclose([left, top, right, bottom], expected, atol=3 * cell)
    assert part.shape == (bottom - top, right - left)
    assert part[0, 0] == np.float32(-1024.0)
    middle = (256 // 2 - top, 256 // 2 - left)
    assert part[middle] == values[128, 128]


def test_an_image_that_is_all_body_is_kept_whole() -> None:
    values = np.full((60, 90), TISSUE, dtype=np.float32)
    part, box = crop_to_torso(values, -400.0, AIR)
    assert box == (0, 0, 90, 60)
    assert (part == values).mean() > 0.99  # but for the very corners


def test_a_field_of_view_that_cuts_the_body_keeps_it() -> None:
    values = slice_of_a_chest()[64:150, 60:200]
    part, box = crop_to_torso(values, -400.0, AIR)
    assert part.size > 0.9 * values.size
    assert box[0] <= 2
    assert box[2] >= 138


def test_air_and_a_lone_table_are_an_input_error() -> None:
    values = np.full((200, 200), AIR, dtype=np.float32)
    values[150:152] = 100.0
    with pytest.raises(UnreadableObjectError) as caught:
        crop_to_torso(values, -400.0, AIR)
    assert caught.value.reason == "no-body"


def test_as_an_operation_it_keeps_the_box_true() -> None:
    step = compile_operations([Operation(op="crop_body", threshold=-400.0, fill=-1000.0)])
    whole = Patch(slice_of_a_chest(), Box(0.0, 0.0, 512.0, 512.0))
    cut = step(whole)
    assert cut.box is not None
    rows, columns = cut.values.shape
    assert cut.box.right - cut.box.left == pytest.approx(2 * columns)
    assert cut.box.bottom - cut.box.top == pytest.approx(2 * rows)
