"""RLE Lossless (PS3.5 annex G), grey."""

from __future__ import annotations

import numpy as np
from rle.rle import decode_frame

from dicom_node.pixels.decoders.coded import Coded, Pixels, as_stored


class Rle:
    """pylibjpeg-rle, eight times as fast as pydicom's own. On damaged data its Rust panics."""

    name = "pylibjpeg"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey only: it leaves colours as planes."""
        return coded.grey

    def decode(self, coded: Coded, _halvings: int) -> Pixels:
        """See Decoder. Always the full size."""
        flat = decode_frame(coded.data, coded.rows * coded.columns, coded.bits_allocated, "<")
        kind = np.dtype(f"<u{coded.bits_allocated // 8}")
        return as_stored(np.frombuffer(flat, dtype=kind).reshape(coded.rows, coded.columns), coded)
