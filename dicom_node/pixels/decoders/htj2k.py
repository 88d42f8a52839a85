"""High-throughput JPEG 2000 (part 15), grey, whole or only as many resolution levels as are needed."""

from __future__ import annotations

import imagecodecs

from dicom_node.pixels.decoders.coded import Coded, Pixels
from dicom_node.pixels.decoders.jpeg2000 import levels


class HtJ2k:
    """imagecodecs (OpenJPH)."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey of the header's depth and sign."""
        return coded.grey and coded.stream is not None and coded.stream.signed == coded.signed

    def decode(self, coded: Coded, halvings: int) -> Pixels:
        """See Decoder."""
        halvings = min(halvings, levels(coded.data))
        pixels: Pixels = imagecodecs.htj2k_decode(coded.data, skipres=halvings or None)
        return pixels.astype(f"{'i' if coded.signed else 'u'}{coded.bits_allocated // 8}", copy=False)
