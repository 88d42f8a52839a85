"""Whatever pydicom and its plugins decode: the way for all that no faster decoder takes."""

from __future__ import annotations

from typing import Any

from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, RLELossless

from dicom_node.pixels.decoders.coded import Coded, Pixels

TRUSTED = {RLELossless: "pydicom"}
"""The plugin that alone may decode a syntax in any process. RLE: on damaged data pylibjpeg's Rust panics,
which is no Exception, and imagecodecs' C reads past its buffer."""


def plugins(uid: UID) -> tuple[str, ...]:
    """The names of pydicom's plugins that decode a transfer syntax here; none where nothing does."""
    try:
        decoder = get_decoder(uid)
    except NotImplementedError:
        return ()
    if not decoder.is_available:
        return ()
    if uid in TRUSTED:
        return (TRUSTED[uid],)
    return tuple(decoder.available_plugins) if uid.is_encapsulated else ("pydicom",)


class ByPydicom:
    """pydicom, with the first of its plugins that is installed."""

    name = "pydicom"
    contained = False

    def takes(self, coded: Coded) -> bool:
        """Everything of a syntax that a plugin knows."""
        return bool(plugins(UID(coded.transfer_syntax)))

    def decode(self, coded: Coded, _halvings: int) -> Pixels:
        """See Decoder. Always the full size."""
        uid = UID(coded.transfer_syntax)
        form: dict[str, Any] = {
            "number_of_frames": 1,
            "pixel_keyword": "PixelData",
            "pixel_vr": "OB",
            "rows": coded.rows,
            "columns": coded.columns,
            "samples_per_pixel": coded.samples,
            "bits_allocated": coded.bits_allocated,
            "bits_stored": coded.bits_stored,
            "pixel_representation": int(coded.signed),
            "photometric_interpretation": coded.photometric,
            "planar_configuration": coded.planar,
        }
        plugin = TRUSTED.get(uid, "")
        frame = encapsulate([coded.data])
        pixels, _ = get_decoder(uid).as_array(frame, index=0, decoding_plugin=plugin, **form)
        return pixels
