"""Damaged copies of a file: the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Damage = Callable[[bytes, bytes, np.random.Generator], bytes]
"""A file, another file, chance: the damaged file."""


def flip(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Up to 40 bits anywhere."""
    out = bytearray(data)
    for at in random.integers(132, len(out), random.integers(1, 41)):
        out[at] ^= 1 << int(random.integers(0, 8))
    return bytes(out)


def flip_header(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Up to 12 bits in the first 3,000 bytes, where the tags and lengths are."""
    out = bytearray(data)
    for at in random.integers(132, min(3000, len(out)), random.integers(1, 13)):
        out[at] ^= 1 << int(random.integers(0, 8))
    return bytes(out)


def truncate(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Cut short anywhere."""
    return data[: int(random.integers(0, len(data)))]


def splice(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """The beginning of one file, the end of another."""
    return data[: int(random.integers(132, len(data)))] + other[int(random.integers(132, len(other))) :]


def transplant(data: bytes, other: bytes, random: np.random.Generator) -> bytes:
    """Up to 4 kB of another file in the place of as much of this one."""
    size = int(random.integers(1, 4096))
    at, source = int(random.integers(132, len(data))), int(random.integers(0, len(other)))
    piece = other[source : source + size]
    return data[:at] + piece + data[at + len(piece) :]


def repeat(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """A part of the file twice, so that all behind it is displaced."""
    at, size = int(random.integers(132, len(data))), int(random.integers(1, 2000))
    return data[: at + size] + data[at:]


def huge_lengths(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Some four bytes of the header become a length of gigabytes."""
    out = bytearray(data)
    for at in random.integers(132, min(3000, len(out) - 4), 3):
        out[at : at + 4] = int(random.choice([0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFF0, 0x10000000])).to_bytes(
            4, "little"
        )
    return bytes(out)


def huge_numbers(data: bytes, _: bytes, random: np.random.Generator) -> bytes:
    """Rows, Columns, Number of Frames or Bits Allocated of another size (PS3.3 C.7.6.3)."""
    out = bytearray(data)
    for tag in (b"\x28\x00\x10\x00", b"\x28\x00\x11\x00", b"\x28\x00\x00\x01", b"\x28\x00\x08\x00"):
        at = out.find(tag, 132)
        if at >= 0 and random.random() < 0.5:
            out[at + 8 : at + 10] = int(random.choice([0, 1, 0xFFFF, 0x3939])).to_bytes(2, "little")
    return bytes(out)


KINDS: Mapping[str, Damage] = {
    each.__name__: each
    for each in (flip, flip_header, truncate, splice, transplant, repeat, huge_lengths, huge_numbers)
}
