"""The named operations of a bundle's preprocessing: data in the bundle, code here.

A `Patch` is an image or a waveform on its way to an encoder. Every operation takes a Patch and returns
one, and keeps `box` (or `span`) true, so that evidence can be drawn back onto the source.

`compile_operations` checks names and parameters once, when a bundle is loaded; applying is then only
arithmetic. `OPERATIONS` at the end of this file lists every name with its parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import BundleFormatError, UnreadableObjectError
from dicom_node.pixels.body import crop_to_torso
from dicom_node.pixels.illumination import against_surroundings
from dicom_node.pixels.parameters import (
    Body,
    Bounds,
    Cutoff,
    Edge,
    Factor,
    Length,
    Limit,
    NoParameters,
    Parameters,
    Percentiles,
    Rate,
    Resize,
    Size,
    Statistics,
    Surroundings,
    Threshold,
    Window,
)
from dicom_node.records import Box

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """`values` is (H, W) or (H, W, 3) float32 for images, (12, T) float32 mV for ECG; the last operation
    of an image makes it (C, H, W)."""

    values: NDArray[np.float32]
    box: Box | None = None
    rate: float | None = None
    """Samples per second, for waveforms."""
    span: tuple[float, float] | None = None


Step = Callable[[Patch], Patch]


def window(patch: Patch, p: Window) -> Patch:
    """`center - width/2` becomes 0, `center + width/2` becomes 1, clipped."""
    values = (patch.values - np.float32(p.center - p.width / 2)) * np.float32(1.0 / p.width)
    return replace(patch, values=np.clip(values, 0.0, 1.0, out=values))


def percentile_stretch(patch: Patch, p: Percentiles) -> Patch:
    """The percentiles become 0 and 1, clipped. An image of one value becomes all 0.

    Of an image above a million pixels every n-th row and column is looked at: sorting all of them would
    take longer than all the rest, for a difference below what the percentiles mean.
    """
    height, width = patch.values.shape[:2]
    every = ceil(sqrt(height * width / _PERCENTILE_PIXELS))
    low, high = (np.float32(v) for v in np.percentile(patch.values[::every, ::every], [p.low, p.high]))
    if high <= low:
        return replace(patch, values=np.zeros_like(patch.values))
    values = (patch.values - low) / (high - low)
    return replace(patch, values=np.clip(values, 0.0, 1.0, out=values))


_PERCENTILE_PIXELS = 1 << 20


def crop_field(patch: Patch, p: Threshold) -> Patch:
    """Crop to the illuminated field of a fundus photograph.

    Kept are the rows and columns from the first to the last in which at least 2 % of the pixels are
    brighter (in their brightest channel) than the threshold, so that a lone hot pixel or a corner mark
    does not count as field. Raises UnreadableObjectError (`no-fundus-field`) where nothing is.
    """
    planes = patch.values[:, :, None] if patch.values.ndim == 2 else patch.values
    lit = planes[:, :, 0] > p.threshold
    for channel in range(1, planes.shape[2]):  # ten times faster than a maximum over the last axis
        lit |= planes[:, :, channel] > p.threshold
    rows = np.flatnonzero(lit.mean(axis=1) >= 0.02)
    columns = np.flatnonzero(lit.mean(axis=0) >= 0.02)
    if rows.size == 0 or columns.size == 0:
        raise UnreadableObjectError(
            "no-fundus-field",
            f"No pixel of the image is brighter than {p.threshold:g}: it shows no illuminated field.",
        )
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    return replace(
        patch,
        values=patch.values[top:bottom, left:right],
        box=_part(patch, left, top, right, bottom),
    )


def crop_body(patch: Patch, p: Body) -> Patch:
    """Crop an axial slice to the patient; see `body.py`. Raises UnreadableObjectError (`no-body`)."""
    values, (left, top, right, bottom) = crop_to_torso(patch.values, p.threshold, p.fill)
    return replace(patch, values=values, box=_part(patch, left, top, right, bottom))


def local_contrast(patch: Patch, p: Surroundings) -> Patch:
    """Each colour against its own surroundings, 0.5 where it does not differ; see `illumination.py`."""
    if patch.values.ndim != 3:
        raise BundleFormatError(f"local_contrast takes (H, W, 3), but got {patch.values.shape}.")
    return replace(patch, values=against_surroundings(patch.values, p.threshold, p.cells, p.gain))


def resize(patch: Patch, p: Resize) -> Patch:
    """Resample with an antialiasing filter (its support grows with the reduction, as in Pillow)."""
    rows, columns = p.size
    height, width = patch.values.shape[:2]
    if p.mode == "crop":
        scale = max(columns / width, rows / height)
        # Rounding may leave the side that is not cropped a hair outside.
        left, top = max(0.0, (width - columns / scale) / 2), max(0.0, (height - rows / scale) / 2)
        right, bottom = width - left, height - top
        values = _resample_image(patch.values, (rows, columns), p.interpolation, (left, top, right, bottom))
        return replace(patch, values=values, box=_part(patch, left, top, right, bottom))
    if p.mode == "stretch":
        return replace(patch, values=_resample_image(patch.values, (rows, columns), p.interpolation))
    scale = min(columns / width, rows / height)
    inner_rows = min(rows, max(1, round(height * scale)))
    inner_columns = min(columns, max(1, round(width * scale)))
    inner = _resample_image(patch.values, (inner_rows, inner_columns), p.interpolation)
    above, before = (rows - inner_rows) // 2, (columns - inner_columns) // 2
    values = np.full((rows, columns, *inner.shape[2:]), p.fill, dtype=np.float32)
    values[above : above + inner_rows, before : before + inner_columns] = inner
    # One padded pixel is as large as one resized pixel; told in pixels of the image before resizing.
    x, y = width / inner_columns, height / inner_rows
    box = _part(patch, -before * x, -above * y, (columns - before) * x, (rows - above) * y)
    return replace(patch, values=values, box=box)


def resize_shortest(patch: Patch, p: Edge) -> Patch:
    """Resample until the shorter side has `edge` pixels; the longer one is cut to whole pixels, as
    torchvision and transformers do, so that the shape is kept to within one pixel."""
    height, width = patch.values.shape[:2]
    rows, columns = (p.edge * side // min(height, width) for side in (height, width))
    return replace(patch, values=_resample_image(patch.values, (rows, columns), p.interpolation))


def center_crop(patch: Patch, p: Size) -> Patch:
    """Keep the middle. Raises BundleFormatError where the image is smaller: `resize` belongs before."""
    rows, columns = p.size
    height, width = patch.values.shape[:2]
    if rows > height or columns > width:
        raise BundleFormatError(
            f"center_crop to {p.size} got an image of {(height, width)}: put a larger `resize` before it."
        )
    top, left = (height - rows) // 2, (width - columns) // 2
    return replace(
        patch,
        values=patch.values[top : top + rows, left : left + columns],
        box=_part(patch, left, top, left + columns, top + rows),
    )


def bound(patch: Patch, p: Bounds) -> Patch:
    """Keep within `low` and `high`: a bicubic `resize` overshoots at sharp edges."""
    return replace(patch, values=np.clip(patch.values, np.float32(p.low), np.float32(p.high)))


def grey_to_rgb(patch: Patch, _: NoParameters) -> Patch:
    """(H, W) to (H, W, 3) with three equal channels."""
    if patch.values.ndim != 2:
        raise BundleFormatError(
            f"grey_to_rgb takes (H, W), but got {patch.values.shape}: check the order in `preprocess`."
        )
    return replace(patch, values=_thrice(patch.values))


def normalise(patch: Patch, p: Statistics) -> Patch:
    """(values - mean) / std, over the last axis of (H, W, C) where one number per channel is given."""
    mean, std = np.asarray(p.mean, dtype=np.float32), np.asarray(p.std, dtype=np.float32)
    channels = patch.values.shape[2] if patch.values.ndim == 3 else 1
    if any(v.ndim == 1 and v.size != channels for v in (mean, std)):
        raise BundleFormatError(
            f"normalise got {mean.size} means and {std.size} deviations for {channels} channel(s): "
            "give one number, or one per channel, and put it before channels_first."
        )
    if patch.values.ndim == 3 and patch.values.strides[2] == 0 and np.ptp(mean) == np.ptp(std) == 0:
        return replace(patch, values=_thrice((patch.values[:, :, 0] - mean.flat[0]) / std.flat[0]))
    return replace(patch, values=(patch.values - mean) / std)


def _thrice(grey: Floats) -> Floats:
    """(H, W) to (H, W, 3), which share their memory: nothing of a grey image need be computed thrice."""
    return np.broadcast_to(grey[:, :, None], (*grey.shape, 3))


def channels_first(patch: Patch, _: NoParameters) -> Patch:
    """(H, W) to (1, H, W), (H, W, C) to (C, H, W)."""
    values = patch.values[None] if patch.values.ndim == 2 else np.moveaxis(patch.values, 2, 0)
    return replace(patch, values=np.ascontiguousarray(values))


def resample(patch: Patch, p: Rate) -> Patch:
    """Change the sampling rate of (12, T) by a windowed sinc (Kaiser, beta 8.6: about 90 dB).

    Below the new Nyquist frequency where the rate falls. The first sample stays at its place in time;
    beyond the ends the end values are assumed to go on.
    """
    rate = _rate(patch, "resample")
    if rate == p.rate:
        return patch
    length = patch.values.shape[1]
    count = max(1, round(length * p.rate / rate))
    cutoff = min(1.0, p.rate / rate)  # relative to the Nyquist frequency of the input
    half = int(np.ceil(_ZERO_CROSSINGS / cutoff))
    position = np.arange(count) * (rate / p.rate)  # (count,), in input samples
    taps = np.floor(position).astype(np.int64)[:, None] + np.arange(-half, half + 1)  # (count, 2 half + 1)
    distance = position[:, None] - taps
    inside = np.clip(1.0 - (distance / (half + 1)) ** 2, 0.0, None)
    weights = np.sinc(distance * cutoff) * np.i0(_KAISER_BETA * np.sqrt(inside))
    weights /= weights.sum(axis=1, keepdims=True)  # a constant stays that constant
    gathered = patch.values[:, np.clip(taps, 0, length - 1)]  # (12, count, 2 half + 1)
    values = np.einsum("ctk,tk->ct", gathered, weights.astype(np.float32))
    return replace(patch, values=values.astype(np.float32, copy=False), rate=p.rate)


_ZERO_CROSSINGS = 12
_KAISER_BETA = 8.6


def fit_length(patch: Patch, p: Length) -> Patch:
    """Keep the first `seconds` of (12, T), or add zeros at the end: `span` then reaches beyond the record."""
    rate = _rate(patch, "fit_length")
    count = max(1, round(p.seconds * rate))
    length = patch.values.shape[1]
    values = patch.values[:, :count]
    if length < count:
        values = np.pad(values, ((0, 0), (0, count - length)))
    span = None if patch.span is None else (patch.span[0], patch.span[0] + count / rate)
    return replace(patch, values=np.ascontiguousarray(values), span=span)


def highpass(patch: Patch, p: Cutoff) -> Patch:
    """Remove baseline wander from (12, T): the response of a second-order Butterworth filter run forwards
    and backwards, 1 / (1 + (cutoff/f)^4), applied to the mirrored recording so that its ends meet."""
    rate = _rate(patch, "highpass")
    length = patch.values.shape[1]
    mirrored = np.concatenate([patch.values, patch.values[:, ::-1]], axis=1).astype(np.float64)
    frequency = np.fft.rfftfreq(2 * length, d=1.0 / rate)
    fourth = frequency**4
    response = fourth / (fourth + p.cutoff**4)  # 0 at f = 0, without dividing by it
    values = np.fft.irfft(np.fft.rfft(mirrored, axis=1) * response, n=2 * length, axis=1)[:, :length]
    return replace(patch, values=values.astype(np.float32))


def scale(patch: Patch, p: Factor) -> Patch:
    """Multiply."""
    return replace(patch, values=patch.values * np.float32(p.factor))


def clip(patch: Patch, p: Limit) -> Patch:
    """Keep within +-limit."""
    return replace(patch, values=np.clip(patch.values, np.float32(-p.limit), np.float32(p.limit)))


def _part(patch: Patch, left: float, top: float, right: float, bottom: float) -> Box | None:
    """The source box of a rectangle told in pixels of `patch.values`."""
    if patch.box is None:
        return None
    height, width = patch.values.shape[:2]
    x = (patch.box.right - patch.box.left) / width
    y = (patch.box.bottom - patch.box.top) / height
    return Box(
        patch.box.left + left * x,
        patch.box.top + top * y,
        patch.box.left + right * x,
        patch.box.top + bottom * y,
    )


def _resample_image(
    values: Floats,
    size: tuple[int, int],
    interpolation: Literal["bilinear", "bicubic"],
    part: tuple[float, float, float, float] | None = None,
) -> Floats:
    """(H, W) or (H, W, C) to `size` (rows, columns), of the rectangle `part` (left, top, right, bottom)."""
    if values.shape[:2] == size and part in (None, (0.0, 0.0, float(size[1]), float(size[0]))):
        return values
    kind = Image.Resampling.BILINEAR if interpolation == "bilinear" else Image.Resampling.BICUBIC
    planes = values[:, :, None] if values.ndim == 2 else values
    resized = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(planes[:, :, c])).resize((size[1], size[0]), kind, box=part)
        )
        for c in range(planes.shape[2])
    ]
    return resized[0] if values.ndim == 2 else np.stack(resized, axis=2)


def _rate(patch: Patch, name: str) -> float:
    if patch.rate is None or patch.values.ndim != 2:
        raise BundleFormatError(f"{name} is for waveforms: take it out of an image encoder's `preprocess`.")
    return patch.rate


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation: the model of its parameters, and the function that takes them."""

    parameters: type[Parameters]
    apply: Callable[[Patch, Any], Patch]


OPERATIONS: Mapping[str, Entry] = {
    "window": Entry(Window, window),
    "percentile_stretch": Entry(Percentiles, percentile_stretch),
    "crop_field": Entry(Threshold, crop_field),
    "crop_body": Entry(Body, crop_body),
    "local_contrast": Entry(Surroundings, local_contrast),
    "resize": Entry(Resize, resize),
    "resize_shortest": Entry(Edge, resize_shortest),
    "center_crop": Entry(Size, center_crop),
    "bound": Entry(Bounds, bound),
    "grey_to_rgb": Entry(NoParameters, grey_to_rgb),
    "normalise": Entry(Statistics, normalise),
    "channels_first": Entry(NoParameters, channels_first),
    "resample": Entry(Rate, resample),
    "fit_length": Entry(Length, fit_length),
    "highpass": Entry(Cutoff, highpass),
    "scale": Entry(Factor, scale),
    "clip": Entry(Limit, clip),
}


def compile_operations(operations: Sequence[Operation]) -> Step:
    """One function that applies all operations in order.

    Raises BundleFormatError for an unknown operation or a wrong parameter.
    """
    steps: list[tuple[Callable[[Patch, Any], Patch], Parameters]] = []
    for operation in operations:
        entry = OPERATIONS.get(operation.op)
        if entry is None:
            raise BundleFormatError(
                f"Unknown operation {operation.op!r} in `preprocess`; known are {', '.join(OPERATIONS)}."
            )
        try:
            parameters = entry.parameters.model_validate(operation.parameters)
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(str(part) for part in e['loc']) or 'parameters'}: {e['msg']}"
                for e in error.errors()
            )
            raise BundleFormatError(f"Operation {operation.op!r} in `preprocess`: {wrong}.") from error
        steps.append((entry.apply, parameters))

    def apply(patch: Patch) -> Patch:
        for function, parameters in steps:
            patch = function(patch, parameters)
        return patch

    return apply
