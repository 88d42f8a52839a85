"""JPEG lossless (process 14), grey, 2 to 16 bits."""

from __future__ import annotations

import imagecodecs

from dicom_node.pixels.decoders.coded import Coded, Pixels, as_stored


class JpegLossless:
    """imagecodecs (libjpeg-turbo 3): four times as fast as pydicom's plugins."""

    name = "imagecodecs"
    contained = True

    def takes(self, coded: Coded) -> bool:
        """Grey only: what lossless colour streams mean by their components differs between writers."""
        return coded.words and coded.stream is not None

    def decode(self, coded: Coded, _halvings: int) -> Pixels:
        """See Decoder. Always the full size: prediction runs through every pixel."""
        return as_stored(imagecodecs.jpeg8_decode(coded.data), coded)
