"""Deflated Image Frame Compression (PS3.5 A.4.13): each frame a stream of RFC 1951."""

from __future__ import annotations

import zlib

import numpy as np

from dicom_node.pixels.decoders.coded import Coded, Pixels


class DeflatedFrame:
    """zlib, told beforehand how much a frame may hold."""

    name = "zlib"
    contained = False

    def takes(self, coded: Coded) -> bool:
        """One sample per pixel of one bit or whole bytes."""
        return coded.samples == 1 and coded.bits_allocated in (1, 8, 16)

    def decode(self, coded: Coded, _halvings: int) -> Pixels:
        """See Decoder. Always the full size. Raises ValueError where there are too few values."""
        count = coded.rows * coded.columns
        size = -(-count * coded.bits_allocated // 8)
        raw = zlib.decompressobj(-zlib.MAX_WBITS).decompress(coded.data, size)
        if len(raw) < size:
            raise ValueError("the frame is cut short")
        if coded.bits_allocated == 1:
            flat = np.unpackbits(np.frombuffer(raw, np.uint8), count=count, bitorder="little")
        else:
            flat = np.frombuffer(raw, f"<{'i' if coded.signed else 'u'}{coded.bits_allocated // 8}", count)
        return flat.reshape(coded.rows, coded.columns)
