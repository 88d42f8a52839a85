"""Weights from files of others: read without running any code, renamed, and loaded with nothing left over.

Only safetensors, and torch files that hold tensors alone (`weights_only=True`): a file that wants to run
Python while it is read is refused.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dicom_node.errors import ConfigError

State = dict[str, Tensor]
Rule = tuple[str, str]
"""A regular expression that the beginning of a name must match, and what stands there instead."""

TRANSPOSED = ".T"
"""Ends a new name whose matrix is to be turned: some layouts keep a projection as (in, out)."""
_CONSTANTS = ("position_ids", "token_type_ids", "attn_mask", "attention_mask")
"""Buffers that old files carry: they follow from the architecture and hold nothing learned."""
_COUNTER = "num_batches_tracked"
"""A batch norm's count of what it has seen: of no meaning for what it computes in evaluation mode."""
_SHOWN = 6


def find_weights(folder: Path, names: Sequence[str]) -> Path:
    """The first of `names` that `folder` holds. Raises ConfigError that lists them where there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(f"No weights in {folder}: expected one of {', '.join(names)}. Put the file there.")


def read_state(path: Path, key: str = "") -> State:
    """All tensors of a file by name; of a `.index.json`, those of all its parts.

    `key` leads to the weights inside a torch file, as in `state_dict` or `model.encoder`. Raises ConfigError
    where the file is missing, broken, wants to run code, or holds something else there.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing: put the weights there, or correct the path.")
    if path.name.endswith(".index.json"):
        parts = sorted(set(json.loads(path.read_text("utf-8"))["weight_map"].values()))
        state: State = {}
        for part in parts:
            state.update(read_state(path.parent / part, key))
        return state
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise ConfigError(f"{path} is no safetensors file ({error}): fetch it again.") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"{path} cannot be read as weights alone: it is broken, or it would run code while it is read. "
            "Save its state_dict as safetensors where you trust it, and name that file."
        ) from error
    for part in key.split(".") if key else ():
        if not isinstance(content, dict) or part not in content:
            held = ", ".join(map(str, list(content)[:_SHOWN])) if isinstance(content, dict) else "no table"
            raise ConfigError(f"{path} has no {part!r} on the way to key = {key!r}; there are: {held}.")
        content = content[part]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        tables = [k for k, v in content.items() if isinstance(v, dict)] if isinstance(content, dict) else []
        raise ConfigError(
            f"{path} holds more than tensors at key = {key!r}: name the table of its weights, "
            f"one of {', '.join(map(str, tables)) or 'none was found'}."
        )
    return dict(content)


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> State:
    """What is named under `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)}


def renamed(state: Mapping[str, Tensor], rules: Sequence[Rule]) -> State:
    """Every weight under the name that the first matching rule gives it.

    A name that no rule matches keeps its own, so that loading tells of it. Packed query, key and value
    (`....packed_weight`, (3 W, W)) are taken apart, and so are packed key and value (`....paired_weight`);
    what ends with `.T` is transposed.
    """
    found: State = {}
    for name, value in state.items():
        new = next((re.sub(f"^{old}", to, name, count=1) for old, to in rules if re.match(old, name)), name)
        if new.endswith(TRANSPOSED):
            new, value = new.removesuffix(TRANSPOSED), value.T
        match = re.fullmatch(r"(.*)(packed|paired)_(weight|bias)", new)
        if match is None:
            found[new] = value
            continue
        parts = ("query", "key", "value") if match[2] == "packed" else ("key", "value")
        for part, piece in zip(parts, value.chunk(len(parts)), strict=True):
            found[f"{match[1]}{part}.{match[3]}"] = piece
    return found


def _fits(value: Tensor, wanted: Tensor) -> bool:
    """The same shape, but for axes of size 1 that a layout may keep around a vector or a matrix."""
    return tuple(s for s in value.shape if s != 1) == tuple(s for s in wanted.shape if s != 1)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Fill every parameter and buffer of `module`, as float32.

    Raises ConfigError that names what is missing, what is left over and what has another shape: nothing
    starts at random, and nothing is dropped, without being told.
    """
    own = module.state_dict()
    given = {k: v for k, v in state.items() if k.split(".")[-1] not in _CONSTANTS}
    missing = sorted(k for k in own if k not in given and not k.endswith(_COUNTER))
    left = sorted(k for k in given if k not in own)
    shapes = sorted(
        f"{k} {tuple(v.shape)} instead of {tuple(own[k].shape)}"
        for k, v in given.items()
        if k in own and not _fits(v, own[k])
    )
    told = [
        f"{len(missing)} weights are missing: {_some(missing)}" if missing else "",
        f"{len(left)} have no place: {_some(left)}" if left else "",
        f"{len(shapes)} have another shape: {_some(shapes)}" if shapes else "",
    ]
    if any(told):
        raise ConfigError(
            f"The weights of {origin} do not fit the tower described: {'; '.join(t for t in told if t)}. "
            "Correct the description (architecture, sizes, names), or the file."
        )
    filled = {k: given[k].to(own[k].dtype).reshape(own[k].shape) if k in given else v for k, v in own.items()}
    module.load_state_dict(filled, strict=True)
