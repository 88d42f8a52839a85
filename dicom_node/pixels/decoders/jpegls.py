"""JPEG-LS, lossless and near-lossless, grey."""

from __future__ import annotations

import imagecodecs

from dicom_node.pixels.decoders.coded import Coded, Pixels, as_stored


class JpegLs:
    """imagecodecs (CharLS)."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey only; interleaving and colour transforms are left to pydicom."""
        return coded.words and coded.stream is not None

    def decode(self, coded: Coded, _halvings: int) -> Pixels:
        """See Decoder. Always the full size: prediction runs through every pixel."""
        return as_stored(imagecodecs.jpegls_decode(coded.data), coded)
