from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import BundleFormatError, UnreadableObjectError
from dicom_node.pixels.ops import OPERATIONS, Patch, compile_operations
from dicom_node.records import Box

Floats = NDArray[np.float32]


def run(patch: Patch, *operations: dict[str, object]) -> Patch:
    return compile_operations([Operation.model_validate(o) for o in operations])(patch)


def image(height: int, width: int) -> Patch:
    rng = np.random.default_rng(3)
    return Patch(rng.random((height, width), dtype=np.float32), Box(0, 0, width, height))


def ecg(seconds: float, rate: float, frequency: float = 5.0) -> Patch:
    t = np.arange(round(seconds * rate)) / rate
    values = np.stack([np.sin(2 * np.pi * frequency * t + lead) for lead in range(12)]).astype(np.float32)
    return Patch(values, rate=rate, span=(0.0, seconds))


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        ({"op": "sharpen"}, "sharpen"),
        ({"op": "window", "center": 40}, "width"),
        ({"op": "window", "center": 40, "width": 0}, "width"),
        ({"op": "window", "center": float("nan"), "width": 400}, "center"),
        ({"op": "percentile_stretch", "low": 99, "high": 1}, "low must be below high"),
        ({"op": "resize", "size": [224]}, "size"),
        ({"op": "resize", "size": [224, 224], "mode": "squash"}, "mode"),
        ({"op": "resize", "size": [224, 224], "colour": 1}, "colour"),
        ({"op": "normalise", "mean": [0.5], "std": [0.0]}, "std"),
        ({"op": "channels_first", "axis": 0}, "axis"),
        ({"op": "clip", "limit": -1}, "limit"),
    ],
)
def test_wrong_operations_are_refused_when_compiled(operation: dict[str, object], said: str) -> None:
    with pytest.raises(BundleFormatError, match=said):
        compile_operations([Operation.model_validate(operation)])


def test_every_operation_of_the_format_is_there() -> None:
    assert set(OPERATIONS) == {
        "window", "percentile_stretch", "crop_field", "crop_body", "local_contrast", "resize",
        "resize_shortest", "center_crop", "bound", "grey_to_rgb", "normalise", "channels_first",
        "resample", "fit_length", "highpass", "scale", "clip",
    }  # fmt: skip


def test_no_operations_change_nothing() -> None:
    patch = image(4, 5)
    assert compile_operations([])(patch) is patch


def test_window_maps_hounsfield_units() -> None:
    hu = Patch(np.array([[-1000.0, -160.0, 40.0, 240.0, 3000.0]], dtype=np.float32))
    out = run(hu, {"op": "window", "center": 40, "width": 400}).values
    np.testing.assert_allclose(out, [[0.0, 0.0, 0.5, 1.0, 1.0]], atol=1e-6)
    assert out.dtype == np.float32


def test_window_leaves_its_input_alone() -> None:
    patch = image(3, 3)
    before = patch.values.copy()
    run(
        patch,
        {"op": "window", "center": 0.5, "width": 0.1},
        {"op": "percentile_stretch", "low": 1, "high": 99},
    )
    np.testing.assert_array_equal(patch.values, before)


def test_percentile_stretch_reaches_from_0_to_1() -> None:
    values = np.linspace(5, 25, 201, dtype=np.float32).reshape(3, 67)
    out = run(Patch(values), {"op": "percentile_stretch", "low": 10, "high": 90}).values
    np.testing.assert_allclose(out.ravel()[[0, 20, 100, 180, 200]], [0, 0, 0.5, 1, 1], atol=1e-6)


def test_percentiles_of_a_large_image_are_those_of_all_its_pixels() -> None:
    rng = np.random.default_rng(9)
    values = rng.gamma(2.0, 300.0, (1500, 1700)).astype(np.float32)
    values[:, 600:] += 400
    low, high = np.percentile(values, [1, 99])
    out = run(Patch(values), {"op": "percentile_stretch", "low": 1, "high": 99}).values
    np.testing.assert_allclose(out, np.clip((values - low) / (high - low), 0, 1), atol=0.01)


def test_percentile_stretch_of_one_value_is_zero() -> None:
    out = run(Patch(np.full((4, 4), 7, dtype=np.float32)), {"op": "percentile_stretch", "low": 1, "high": 99})
    assert not out.values.any()


def test_crop_field_keeps_the_disc_and_tells_where_it_was() -> None:
    rows, columns = np.mgrid[0:120, 0:200]
    disc = ((rows - 60) ** 2 + (columns - 110) ** 2 <= 40**2).astype(np.float32) * 0.6
    values = np.stack([disc, disc / 2, disc / 4], axis=2)
    values[3, 3] = 1.0  # a hot pixel outside the field
    out = run(Patch(values, Box(0, 0, 200, 120)), {"op": "crop_field", "threshold": 0.05})
    assert out.box is not None
    np.testing.assert_allclose([out.box.left, out.box.right], [70, 151], atol=4)
    np.testing.assert_allclose([out.box.top, out.box.bottom], [20, 101], atol=4)
    assert out.values.shape[:2] == (out.box.bottom - out.box.top, out.box.right - out.box.left)


def test_crop_field_of_a_black_image_is_an_input_error() -> None:
    with pytest.raises(UnreadableObjectError) as caught:
        run(Patch(np.zeros((8, 8, 3), dtype=np.float32)), {"op": "crop_field", "threshold": 0.05})
    assert caught.value.reason == "no-fundus-field"


@pytest.mark.parametrize("mode", ["pad", "stretch", "crop"])
@pytest.mark.parametrize("shape", [(300, 170), (170, 300), (64, 64), (40, 30), (31, 97)])
@pytest.mark.parametrize("size", [(64, 64), (50, 80)])
def test_a_bright_dot_maps_back_to_where_it_was(
    mode: str, shape: tuple[int, int], size: tuple[int, int]
) -> None:
    height, width = shape
    row, column = height // 2 + 3, width // 2 - 4
    values = np.zeros(shape, dtype=np.float32)
    values[row - 1 : row + 2, column - 1 : column + 2] = 1.0  # centred on (column + 0.5, row + 0.5)
    out = run(Patch(values, Box(0, 0, width, height)), {"op": "resize", "size": list(size), "mode": mode})
    assert out.values.shape == size
    assert out.box is not None
    weight = out.values / out.values.sum()
    x = (weight.sum(axis=0) * (np.arange(size[1]) + 0.5)).sum() / size[1]
    y = (weight.sum(axis=1) * (np.arange(size[0]) + 0.5)).sum() / size[0]
    assert out.box.left + x * (out.box.right - out.box.left) == pytest.approx(column + 0.5, abs=0.6)
    assert out.box.top + y * (out.box.bottom - out.box.top) == pytest.approx(row + 0.5, abs=0.6)


def test_the_box_stays_true_through_crop_and_pad_of_a_part() -> None:
    values = np.zeros((100, 100, 3), dtype=np.float32)
    values[20:80, 30:70] = 0.5
    values[49:51, 39:41] = 1.0  # centred on (40, 50); in source pixels (1080, 2100)
    out = run(
        Patch(values, Box(1000, 2000, 1200, 2200)),
        {"op": "crop_field", "threshold": 0.1},
        {"op": "resize", "size": [96, 96], "mode": "pad"},
    )
    assert out.box is not None
    peak = np.argwhere(out.values[:, :, 0] > 0.9).mean(axis=0) + 0.5
    scale = (out.box.right - out.box.left) / 96
    assert out.box.left + peak[1] * scale == pytest.approx(1080, abs=1.5)
    assert out.box.top + peak[0] * scale == pytest.approx(2100, abs=1.5)
    assert out.box.left < 1060, "padding beside a tall field reaches beyond it"


def test_pad_fills_and_its_box_reaches_beyond_the_image() -> None:
    out = run(
        Patch(np.ones((10, 20), dtype=np.float32), Box(0, 0, 20, 10)),
        {"op": "resize", "size": [40, 40], "mode": "pad", "fill": -1},
    )
    assert out.box == Box(0, -5, 20, 15)
    np.testing.assert_array_equal(out.values[:10], -1)
    np.testing.assert_array_equal(out.values[10:30], 1)
    np.testing.assert_array_equal(out.values[30:], -1)


def test_reduction_by_a_whole_factor_is_antialiased() -> None:
    stripes = np.tile(np.array([[0.0, 1.0]], dtype=np.float32), (64, 32))
    out = run(Patch(stripes), {"op": "resize", "size": [16, 16], "mode": "stretch"}).values
    np.testing.assert_allclose(out[:, 2:-2], 0.5, atol=0.02)


def naive_bilinear_reduction(values: Floats, factor: int) -> Floats:
    """The triangle filter of twice the reduction, written out, for the interior of one row."""
    count = values.shape[0] // factor
    out = np.zeros(count)
    for i in range(count):
        centre = (i + 0.5) * factor
        weights = [max(0.0, 1 - abs(j + 0.5 - centre) / factor) for j in range(values.shape[0])]
        out[i] = np.dot(weights, values) / np.sum(weights)
    return out.astype(np.float32)


def test_reduction_equals_the_filter_written_out() -> None:
    row = np.random.default_rng(0).random(96, dtype=np.float32)
    out = run(Patch(np.tile(row, (96, 1))), {"op": "resize", "size": [24, 24], "mode": "stretch"}).values
    np.testing.assert_allclose(out[5], naive_bilinear_reduction(row, 4), atol=1e-5)


def test_image_chain_makes_channels_first() -> None:
    out = run(
        image(50, 70),
        {"op": "resize", "size": [32, 32], "mode": "pad"},
        {"op": "grey_to_rgb"},
        {"op": "normalise", "mean": [0.1, 0.2, 0.3], "std": [0.5, 0.25, 1.0]},
        {"op": "channels_first"},
    )
    assert out.values.shape == (3, 32, 32)
    assert out.values.dtype == np.float32
    assert out.values.flags.c_contiguous
    np.testing.assert_allclose(out.values[0] * 0.5 + 0.1, out.values[1] * 0.25 + 0.2, atol=1e-6)
    np.testing.assert_allclose(out.values[0] * 0.5 + 0.1, out.values[2] + 0.3, atol=1e-6)


def test_normalise_with_one_number() -> None:
    out = run(Patch(np.full((2, 2), 3, dtype=np.float32)), {"op": "normalise", "mean": 1.0, "std": 4.0})
    np.testing.assert_array_equal(out.values, 0.5)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "normalise", "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        {"op": "resample", "rate": 100},
        {"op": "fit_length", "seconds": 10},
        {"op": "highpass", "cutoff": 0.5},
    ],
)
def test_operations_that_do_not_fit_the_input_say_so(operation: dict[str, object]) -> None:
    with pytest.raises(BundleFormatError, match=str(operation["op"])):
        run(image(4, 4), operation)


def test_grey_to_rgb_twice_is_refused() -> None:
    with pytest.raises(BundleFormatError, match="grey_to_rgb"):
        run(image(4, 4), {"op": "grey_to_rgb"}, {"op": "grey_to_rgb"})


@pytest.mark.parametrize(("old", "new"), [(500, 100), (100, 500), (257, 100), (1000, 500), (250, 360)])
def test_resample_keeps_a_sine_and_its_time(old: float, new: float) -> None:
    out = run(ecg(10, old), {"op": "resample", "rate": new})
    assert out.rate == new
    assert out.span == (0.0, 10)
    wanted = ecg(10, new).values
    assert out.values.shape[1] == pytest.approx(wanted.shape[1], abs=1)
    middle = slice(int(new), int(9 * new))
    np.testing.assert_allclose(out.values[:, middle], wanted[:, middle], atol=2e-4)


def test_resample_removes_what_the_new_rate_cannot_hold() -> None:
    out = run(ecg(10, 500, frequency=90), {"op": "resample", "rate": 100}).values
    assert np.abs(out[:, 100:-100]).max() < 1e-3


def test_resample_keeps_a_constant_to_its_ends() -> None:
    flat = Patch(np.full((12, 400), 0.7, dtype=np.float32), rate=400, span=(0.0, 1.0))
    np.testing.assert_allclose(run(flat, {"op": "resample", "rate": 150}).values, 0.7, atol=1e-5)


def test_resample_equals_the_sum_written_out() -> None:
    patch = Patch(
        np.random.default_rng(1).standard_normal((12, 60)).astype(np.float32), rate=50, span=(0, 1.2)
    )
    out = run(patch, {"op": "resample", "rate": 20}).values
    half = 30  # 12 zero crossings at 0.4 of the old rate
    for n in (0, 7, 23):
        position = n * 2.5
        total, norm = 0.0, 0.0
        for tap in range(int(position) - half, int(position) + half + 1):
            d = position - tap
            w = np.sinc(0.4 * d) * np.i0(8.6 * np.sqrt(max(0.0, 1 - (d / (half + 1)) ** 2)))
            total += w * float(patch.values[4, min(max(tap, 0), 59)])
            norm += w
        assert out[4, n] == pytest.approx(total / norm, abs=1e-5)


def test_fit_length_crops_and_pads() -> None:
    long = run(ecg(12, 100), {"op": "fit_length", "seconds": 10})
    assert long.values.shape == (12, 1000)
    assert long.span == (0.0, 10.0)
    short = run(ecg(4, 100), {"op": "fit_length", "seconds": 10})
    assert short.values.shape == (12, 1000)
    assert short.span == (0.0, 10.0)
    np.testing.assert_array_equal(short.values[:, :400], ecg(4, 100).values)
    assert not short.values[:, 400:].any()


def test_highpass_removes_wander_and_keeps_the_beat() -> None:
    beat = ecg(10, 500, frequency=8.0)
    t = np.arange(5000) / 500
    wander = (0.8 + 0.5 * np.sin(2 * np.pi * 0.15 * t)).astype(np.float32)
    out = run(Patch(beat.values + wander, rate=500, span=beat.span), {"op": "highpass", "cutoff": 0.5}).values
    assert np.abs(out - beat.values)[:, 500:-500].max() < 0.05
    assert abs(float(out.mean())) < 1e-5


def test_highpass_response_at_the_cutoff_is_one_half() -> None:
    out = run(ecg(20, 100, frequency=2.0), {"op": "highpass", "cutoff": 2.0}).values[:, 500:1500]
    assert np.abs(out).max() == pytest.approx(0.5, abs=0.01)


def test_scale_and_clip() -> None:
    out = run(ecg(1, 100), {"op": "scale", "factor": 4}, {"op": "clip", "limit": 2.5}).values
    assert out.max() == 2.5
    assert out.min() == -2.5
    assert out.dtype == np.float32
