"""Which files beside an ONNX file hold weights of it.

A tensor may say that its numbers lie in another file ("external data"), which ONNX Runtime then reads from
beside the model. Only those that the bundle lists, and thereby proves, are ever given to it. The serving part
has no `onnx` package; of the protocol buffer only the way down to the tensors is read here.

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
_KEY, _VALUE = 1, 2
"""StringStringEntryProto, of which the former is made."""
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
"""Wire types; 3 and 4, groups, are in no version of ONNX."""


def external_files(model: bytes) -> frozenset[str]:
    """The files that tensors of a serialised ModelProto name, wherever in the graph they stand; an empty name
    for a tensor that lies elsewhere and does not say where.

    Raises ValueError where the bytes are no protocol buffer.
    """
    view = memoryview(model)
    found: set[str] = set()
    waiting = [("model", 0, len(model))]
    while waiting:
        kind, start, end = waiting.pop()
        within = _WITHIN[kind]
        elsewhere, locations = False, set[str]()
        for field, wire, low, high in _fields(view, start, end):
            if kind == "tensor" and field == _EXTERNAL_DATA:
                elsewhere = True
                locations |= _location(view, low, high)
            elsewhere |= kind == "tensor" and field == _DATA_LOCATION and any(view[low:high])
            if field in within and wire == _LENGTH:
                waiting.append((within[field], low, high))
        if elsewhere:
            found |= locations or {""}
    return frozenset(found)


def _location(view: memoryview, start: int, end: int) -> set[str]:
    """The value of one entry if its key is `location`, else nothing."""
    told = {field: bytes(view[low:high]) for field, _, low, high in _fields(view, start, end)}
    return {told.get(_VALUE, b"").decode("utf-8", "replace")} if told.get(_KEY) == b"location" else set()


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
