"""Frames to a decoding child and pixels back, over pipes: a line of JSON, then bytes. No pickle.

          ready\\n, once, from the child; then
request   {"halvings": 2, "length": 1234, ...the fields of Coded...}\\n + the encoded frame, or
          {"halvings": 2, "length": 0, "place": {"path": ..., "parts": [[offset, length], ...]}, ...}\\n
answer    {"dtype": "<u2", "shape": [512, 512], "length": 524288}\\n + the pixels, or
          {"fault": "unreadable" | "unsupported", "reason": ..., "message": ...}\\n or
          {"errno": 2}\\n where the file cannot be read
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dicom_node.errors import InputError, UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decoders.coded import Coded, Pixels, Place, Stream

READY = b"ready\n"
"""What a child says first, once it can decode."""
_FAULTS: dict[str, type[InputError]] = {
    "unreadable": UnreadableObjectError,
    "unsupported": UnsupportedObjectError,
}
_PLAIN = tuple(f.name for f in fields(Coded) if f.name not in ("data", "stream", "place"))


def request_of(coded: Coded, halvings: int) -> tuple[bytes, bytes]:
    """The line of a request and what follows it: the frame, or nothing where the child reads it from its
    place."""
    told = {name: getattr(coded, name) for name in _PLAIN}
    told["stream"] = None if coded.stream is None else asdict(coded.stream)
    told["place"] = (
        None if coded.place is None else {"path": str(coded.place.path), "parts": coded.place.parts}
    )
    data = coded.data if coded.place is None else b""
    return _line({**told, "halvings": halvings, "length": len(data)}), data


def read_request(file: BinaryIO) -> tuple[Coded, int] | None:
    """The next request; None where the parent has closed its end."""
    line = file.readline()
    if not line:
        return None
    told = json.loads(line)
    data = file.read(told["length"])
    stream = None if told["stream"] is None else Stream(**told["stream"])
    place = told["place"]
    if place is not None:
        place = Place(Path(place["path"]), tuple((offset, length) for offset, length in place["parts"]))
    plain = {name: told[name] for name in _PLAIN}
    return Coded(data=data, stream=stream, place=place, **plain), told["halvings"]


def write_pixels(file: BinaryIO, pixels: Pixels) -> None:
    """The answer of a child that could decode."""
    ordered = np.ascontiguousarray(pixels)
    file.write(_line({"dtype": ordered.dtype.str, "shape": ordered.shape, "length": ordered.nbytes}))
    file.write(ordered.data)
    file.flush()


def write_fault(file: BinaryIO, error: InputError) -> None:
    """The answer of a child that could not, and why."""
    kind = next((name for name, of in _FAULTS.items() if isinstance(error, of)), "unreadable")
    file.write(_line({"fault": kind, "reason": error.reason, "message": str(error)}))
    file.flush()


def write_gone(file: BinaryIO, error: OSError) -> None:
    """The answer of a child that could not read the file."""
    file.write(_line({"errno": error.errno or 0}))
    file.flush()


def pixels_of(line: bytes, body: bytearray) -> Pixels:
    """An answer as an array, or as the error that it tells."""
    told = json.loads(line)
    if "errno" in told:
        raise OSError(told["errno"], os.strerror(told["errno"]))
    if "fault" in told:
        raise _FAULTS[told["fault"]](told["reason"], told["message"])
    return np.frombuffer(body, dtype=np.dtype(told["dtype"])).reshape(told["shape"])


def length_of(line: bytes) -> int:
    """Bytes that follow the line of an answer."""
    return int(json.loads(line).get("length", 0))


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode("ascii") + b"\n"
