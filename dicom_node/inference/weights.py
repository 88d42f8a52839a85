"""Whether an ONNX file carries all of its weights itself.

A tensor may say that its numbers lie in another file ("external data"), which ONNX Runtime then reads from
beside the model. Such a file is no part of what was sealed, so a model that names one is refused. The serving
part has no `onnx` package; of the protocol buffer only the way down to the tensors is read here.

Field numbers: onnx.proto of ONNX 1.18; encoding: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

_WITHIN: Mapping[str, Mapping[int, str]] = MappingProxyType(
    {
        "model": {7: "graph", 20: "training", 25: "function"},
        "training": {1: "graph", 2: "graph"},
        "function": {7: "node", 11: "attribute"},
        "graph": {1: "node", 5: "tensor", 15: "sparse"},
        "sparse": {1: "tensor", 2: "tensor"},
        "node": {5: "attribute"},
        "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
        "tensor": {},
    }
)
"""Which fields of a message hold messages of interest, and of which kind."""

_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
"""TensorProto: where the numbers lie, and whether they lie elsewhere."""
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are in no version of ONNX."""


def has_external_data(model: bytes) -> bool:
    """Whether any tensor of a serialised ModelProto lies outside of it, wherever in the graph it stands.

    Raises ValueError where the bytes are no protocol buffer.
    """
    view = memoryview(model)
    waiting = [("model", 0, len(model))]
    while waiting:
        kind, start, end = waiting.pop()
        within = _WITHIN[kind]
        for field, wire, low, high in _fields(view, start, end):
            if kind == "tensor" and (
                field == _EXTERNAL_DATA or (field == _DATA_LOCATION and any(view[low:high]))
            ):
                return True
            if field in within and wire == _LENGTH:
                waiting.append((within[field], low, high))
    return False


def _fields(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, start and end of the content, of each field of a message."""
    at = start
    while at < end:
        tag, at = _varint(view, at, end)
        field, wire = tag >> 3, tag & 7
        low = at
        if wire == _VARINT:
            _, at = _varint(view, at, end)
        elif wire == _LENGTH:
            length, low = _varint(view, at, end)
            at = low + length
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if wire == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"wire type {wire}")
        if field == 0 or at > end:
            raise ValueError("a field that reaches beyond its message")
        yield field, wire, low, at


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    number = 0
    for count in range(10):
        if at + count >= end:
            break
        byte = view[at + count]
        number |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return number, at + count + 1
    raise ValueError("a number without an end")
