"""The image preprocessing of other layouts, as the named operations of a bundle.

The node resamples float32 values where the origin libraries round to 8 bits between two steps: outputs differ
by up to about one grey level of 256.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dicom_node.bundle.manifest import Operation
from dicom_node.errors import ConfigError
from m3bind.towers.layout import read_json

GREY_READERS = ("radiograph", "ct")
"""Readers that hand over (H, W): their values are repeated for a network that was trained on colour."""

Mode = Literal["crop", "stretch", "pad"]

_RESAMPLING: Mapping[int, str] = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of the filters that the node has."""
_KNOWN = {
    "do_resize", "size", "resample", "do_center_crop", "crop_size", "do_rescale", "rescale_factor",
    "do_normalize", "image_mean", "image_std", "do_convert_rgb",
}  # fmt: skip
_HARMLESS = {
    "image_processor_type", "feature_extractor_type", "processor_class", "data_format", "device",
    "return_tensors", "input_data_format", "disable_grouping", "size_divisor", "default_to_square",
    "model_valid_processing_keys", "_valid_processor_keys", "image_seq_length", "pad_size",
}  # fmt: skip
"""Keys that change no pixel of these processors."""


def operations(
    size: tuple[int, int],
    mean: Sequence[float],
    std: Sequence[float],
    reader: str,
    *,
    mode: Mode,
    interpolation: str,
    edge: int | None = None,
) -> tuple[Operation, ...]:
    """Resize to `size` (rows, columns), then normalise. `crop` brings the shorter side to `edge` and keeps
    the middle.

    A reader's raw values (HU of CT) need a `window` before: a recipe says which.
    """
    found: list[dict[str, Any]] = []
    if mode == "crop":
        shorter = max(size) if edge is None else edge
        found.append({"op": "resize_shortest", "edge": shorter, "interpolation": interpolation})
        found.append({"op": "center_crop", "size": list(size)})
    else:
        found.append({"op": "resize", "size": list(size), "mode": mode, "interpolation": interpolation})
    if interpolation == "bicubic":
        found.append({"op": "bound", "low": 0.0, "high": 1.0})  # a cubic filter overshoots at edges
    if reader in GREY_READERS:
        found.append({"op": "grey_to_rgb"})
    found.append({"op": "normalise", "mean": list(mean), "std": list(std)})
    found.append({"op": "channels_first"})
    return tuple(Operation.model_validate(one) for one in found)


def _sides(told: Any, origin: str, key: str) -> tuple[int, int]:
    """(rows, columns) of `{height, width}` or a number."""
    if isinstance(told, int):
        return told, told
    if isinstance(told, dict) and {"height", "width"} <= set(told):
        return int(told["height"]), int(told["width"])
    raise ConfigError(f"{origin}: {key} = {told!r} is not understood: write height and width.")


def read_image_processor(folder: Path) -> tuple[dict[str, Any], str]:
    """The settings of transformers' image processor, and the name of the file for messages."""
    path = folder / "preprocessor_config.json"
    if path.is_file():
        return read_json(path), str(path)
    path = folder / "processor_config.json"
    if path.is_file() and isinstance(read_json(path).get("image_processor"), dict):
        return dict(read_json(path)["image_processor"]), str(path)
    raise ConfigError(
        f"{folder} has no preprocessor_config.json: without it nobody knows what the encoder wants to see. "
        "Take the file from where the model comes from."
    )


def from_image_processor(
    told: Mapping[str, Any], size: tuple[int, int], reader: str, origin: str
) -> tuple[Operation, ...]:
    """Settings of transformers' image processor to operations that end in `size`, (rows, columns).

    Raises ConfigError that names what the node cannot do.
    """
    strange = sorted(k for k in told if k not in _KNOWN | _HARMLESS and told[k] not in (None, False))
    if strange:
        raise ConfigError(f"{origin}: the node has no operation for {', '.join(strange)}.")
    wanted = {"do_resize": True, "do_rescale": True, "do_normalize": True}
    for key, value in wanted.items():
        if told.get(key, True) is not value:
            raise ConfigError(f"{origin}: {key} = {told[key]!r} is not supported; the node always does it.")
    if abs(float(told.get("rescale_factor", 1 / 255)) * 255 - 1) > 1e-6:
        raise ConfigError(
            f"{origin}: rescale_factor = {told['rescale_factor']!r}; the node's images run from 0 "
            "to 1, which is 1/255."
        )
    if told.get("resample", 2) not in _RESAMPLING:
        raise ConfigError(
            f"{origin}: resample = {told['resample']!r}; the node has 2 (bilinear) and 3 (bicubic)."
        )
    for key in ("image_mean", "image_std", "size"):
        if told.get(key) is None:
            raise ConfigError(f"{origin} does not say {key}.")
    edge = _shortest_edge(told, origin)
    if edge is None:
        final = _sides(told["size"], origin, "size")
    else:
        final = _sides(told.get("crop_size"), origin, "crop_size")
        if edge < max(final):
            raise ConfigError(
                f"{origin}: the shorter side becomes {edge} and the image is then cropped to {final}, which "
                "needs padding; the node does not pad here."
            )
    if final != size:
        raise ConfigError(f"{origin} ends in images of {final}, but the encoder takes {size}.")
    return operations(
        size,
        told["image_mean"],
        told["image_std"],
        reader,
        mode="stretch" if edge is None else "crop",
        interpolation=_RESAMPLING[told.get("resample", 2)],
        edge=edge,
    )


def _shortest_edge(told: Mapping[str, Any], origin: str) -> int | None:
    """What the shorter side becomes before the middle is cut out; None where the image is stretched."""
    size, cropped = told["size"], bool(told.get("do_center_crop", False))
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        if not cropped:
            raise ConfigError(
                f"{origin}: resizing the shortest edge without a crop leaves images of many shapes; the node "
                "needs do_center_crop."
            )
        return int(size["shortest_edge"])
    if not cropped:
        return None
    if isinstance(size, int):
        return size
    raise ConfigError(f"{origin}: a stretch to {size!r} followed by a crop is not supported.")
