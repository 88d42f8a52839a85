"""JPEG with DCT, 8 and 12 bits, sequential and progressive (processes 1, 2, 4; 6, 8, 10, 12, retired)."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
from PIL import Image

from dicom_node.pixels.decoders.coded import Coded, Pixels, as_stored


class Dct:
    """imagecodecs (libjpeg-turbo): three times as fast as the others, and the only one for 12 bits. Smaller
    sizes by Pillow, which lets the same library leave out the high frequencies."""

    name = "imagecodecs"
    contained = False

    def takes(self, coded: Coded) -> bool:
        """A JPEG stream of one or three components."""
        return coded.stream is not None and coded.samples in (1, 3)

    def decode(self, coded: Coded, halvings: int) -> Pixels:
        """See Decoder."""
        if halvings and coded.stream is not None and coded.stream.precision == 8 and self._plain(coded):
            return self._scaled(coded, halvings)
        space = self._space(coded)
        pixels: Pixels = imagecodecs.jpeg8_decode(
            coded.data, colorspace=space, outcolorspace="RGB" if space else None
        )
        if not coded.signed:
            return pixels
        return as_stored(pixels, coded)

    @staticmethod
    def _space(coded: Coded) -> str | None:
        """The stream tells its colours itself where it can; the DICOM photometric interpretation decides
        where it does not."""
        stream = coded.stream
        if stream is None or stream.components != 3:
            return None
        rgb = stream.named_rgb or (coded.photometric == "RGB" and not stream.jfif)
        return "RGB" if (stream.adobe == 0 if stream.adobe is not None else rgb) else "YCBCR"

    def _plain(self, coded: Coded) -> bool:
        """Whether Pillow's own idea of the colours is ours: libjpeg believes JFIF, then Adobe, then names."""
        if coded.signed or coded.bits_allocated != 8:
            return False
        if coded.samples == 1:
            return True
        stream = coded.stream
        assert stream is not None  # noqa: S101 # asked of streams only
        rgb = not stream.jfif and (stream.adobe == 0 if stream.adobe is not None else stream.named_rgb)
        return (self._space(coded) == "RGB") == rgb

    @staticmethod
    def _scaled(coded: Coded, halvings: int) -> Pixels:
        with Image.open(io.BytesIO(coded.data), formats=["JPEG"]) as image:
            step = 1 << min(halvings, 3)  # the library knows 1/2, 1/4 and 1/8
            # One less than the size rounded up: `draft` takes the smallest scale that is not below it.
            image.draft("L" if coded.samples == 1 else "RGB", (coded.columns // step, coded.rows // step))
            return np.asarray(image)
