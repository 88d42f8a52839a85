"""High-throughput JPEG 2000 (part 15), grey, whole or only as many resolution levels as are needed."""

from __future__ import annotations

import imagecodecs
import numpy as np

from dicom_node.pixels.decoders.coded import Coded, Pixels
from dicom_node.pixels.decoders.jpeg2000 import levels, reduced


class HtJ2k:
    """imagecodecs (OpenJPH), which lets the low-pass band of a smaller size wrap round where it swings beyond
    the word; where that cannot be told from a value, Pillow (OpenJPEG), five times as slow."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey of the header's depth and sign."""
        return coded.grey and coded.stream is not None and coded.stream.signed == coded.signed

    def decode(self, coded: Coded, halvings: int) -> Pixels:
        """See Decoder."""
        halvings = min(halvings, levels(coded.data))
        if halvings:
            smaller = self._unwrapped(coded, halvings)
            if smaller is None:
                smaller = reduced(coded, halvings)
            if smaller is not None:
                return smaller
        pixels: Pixels = imagecodecs.htj2k_decode(coded.data)
        return pixels.astype(f"{'i' if coded.signed else 'u'}{coded.bits_allocated // 8}", copy=False)

    @staticmethod
    def _unwrapped(coded: Coded, halvings: int) -> Pixels | None:
        """None where what swings beyond the range cannot be told from values.

        Where two bits are spare they hold the swings (at sharp edges about half of the range), which are
        clipped to the range of Bits Stored. Where none is, a value that wrapped stands beside one that did
        not: without a jump of half the range between neighbours, none has wrapped.
        """
        pixels: Pixels = imagecodecs.htj2k_decode(coded.data, skipres=halvings)
        kind = np.dtype(f"{'i' if coded.signed else 'u'}{coded.bits_allocated // 8}")
        if pixels.dtype != kind:
            return None
        if coded.bits_allocated != 16 or coded.bits_stored > 14:
            return None if _jumps(pixels) else pixels
        values = pixels.view(np.int16)
        span = 1 << coded.bits_stored
        low = -(span >> 1) if coded.signed else 0
        # A writer may have stored more bits than it says; its values would be taken for swings.
        if int(values.min()) < low - span // 2 or int(values.max()) >= low + span + span // 2:
            return None
        clipped: Pixels = np.clip(values, low, low + span - 1)
        return clipped.view(kind)


def _jumps(pixels: Pixels) -> bool:
    """Whether neighbours differ by half the range of their word or more."""
    values = pixels.astype(np.int32)
    half = 1 << (8 * pixels.itemsize - 1)
    return any(bool((np.abs(np.diff(values, axis=axis)) >= half).any()) for axis in (0, 1))
