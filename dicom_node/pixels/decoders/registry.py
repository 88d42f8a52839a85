"""Which decoder decodes what: a table by transfer syntax, the fastest first (figures: docs/BENCHMARKS.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    AllTransferSyntaxes,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from dicom_node.errors import DecoderUnavailableError as DecoderUnavailableError  # told with `decode`
from dicom_node.errors import UnreadableObjectError, UnsupportedObjectError
from dicom_node.pixels.decoders.by_pydicom import ByPydicom, plugins
from dicom_node.pixels.decoders.coded import Coded, Decoder, Pixels, halved, shrink
from dicom_node.pixels.decoders.dct import Dct
from dicom_node.pixels.decoders.deflated_frame import DeflatedFrame
from dicom_node.pixels.decoders.htj2k import HtJ2k
from dicom_node.pixels.decoders.jpeg2000 import Jpeg2000
from dicom_node.pixels.decoders.jpeg_lossless import JpegLossless
from dicom_node.pixels.decoders.jpegls import JpegLs
from dicom_node.pixels.decoders.rle import Rle

FrameDecoder = Callable[[Coded, int], Pixels]
"""`decode_here`, or a pool of children (`dicom_node/pixels/contained.py`)."""

_DCT = (Dct(),)
_LOSSLESS = (JpegLossless(), ByPydicom())
_LS = (JpegLs(), ByPydicom())
_JPEG_2000 = (Jpeg2000(), ByPydicom())
_HTJ2K = (HtJ2k(), ByPydicom())
_OTHER = (ByPydicom(),)

DECODERS: Mapping[str, Sequence[Decoder]] = MappingProxyType(
    {
        JPEGBaseline8Bit: _DCT,
        JPEGExtended12Bit: _DCT,
        "1.2.840.10008.1.2.4.53": _DCT,  # spectral selection, retired
        "1.2.840.10008.1.2.4.55": _DCT,  # full progression, retired
        JPEGLossless: _LOSSLESS,
        JPEGLosslessSV1: _LOSSLESS,
        JPEGLSLossless: _LS,
        JPEGLSNearLossless: _LS,
        JPEG2000Lossless: _JPEG_2000,
        JPEG2000: _JPEG_2000,
        HTJ2KLossless: _HTJ2K,
        HTJ2KLosslessRPCL: _HTJ2K,
        HTJ2K: _HTJ2K,
        RLELossless: (Rle(), ByPydicom()),
        "1.2.840.10008.1.2.8.1": (DeflatedFrame(),),  # too young for pydicom's dictionary
    }
)
"""By Transfer Syntax UID; a syntax that is not named is left to pydicom."""

_ENDED = frozenset({JPEGLSLossless, JPEGLSNearLossless})
"""CharLS, on which all JPEG-LS decoders but one stand, works for seconds on a small stream without an end."""
_EOI = b"\xff\xd9"


def installed() -> Mapping[str, tuple[str, ...]]:
    """Transfer Syntax UIDs that this machine can decode, with the names of the decoders that can."""
    known = dict.fromkeys((*(str(uid) for uid in AllTransferSyntaxes), *(str(uid) for uid in DECODERS)))
    return {uid: names for uid in known if (names := names_of(uid))}


def names_of(uid: str) -> tuple[str, ...]:
    """The decoders of a transfer syntax, the preferred one first; none where nothing decodes it here."""
    names: list[str] = []
    for decoder in DECODERS.get(uid, _OTHER):
        names += plugins(UID(uid)) if isinstance(decoder, ByPydicom) else (decoder.name,)
    return tuple(dict.fromkeys(names))


def choose(coded: Coded, *, contained: bool) -> Decoder:
    """The first decoder that takes this frame; `contained` says that this process may be lost.

    Raises UnsupportedObjectError (`transfer-syntax`) where there is none.
    """
    for decoder in DECODERS.get(coded.transfer_syntax, _OTHER):
        if (contained or not decoder.contained) and decoder.takes(coded):
            return decoder
    if coded.stream is None and coded.transfer_syntax in DECODERS:
        raise UnreadableObjectError("broken-pixels", "Its pixel data are no stream of their kind.")
    raise UnsupportedObjectError(
        "transfer-syntax", f"No decoder for transfer syntax {coded.transfer_syntax} is installed here."
    )


def decode_here(coded: Coded, halvings: int) -> Pixels:
    """Decode in this process, by what does not end it; see `decode`."""
    return decode(coded, halvings, contained=False)


def decode(coded: Coded, halvings: int, *, contained: bool) -> Pixels:
    """(rows, columns[, 3]) at 1/2^halvings of the size, rounded up.

    As little as possible is decoded, and what a codec cannot leave out is averaged over blocks.

    Raises UnsupportedObjectError, UnreadableObjectError, OSError where the file is gone, and what codecs
    raise on broken data.
    """
    coded = coded.whole()
    if coded.transfer_syntax in _ENDED and _EOI not in coded.data.rstrip(b"\0")[-16:]:
        raise UnreadableObjectError("broken-pixels", "Its pixel data are cut short.")
    pixels = choose(coded, contained=contained).decode(coded, halvings)
    wanted = (3,) if coded.samples == 3 else () if coded.samples == 1 else (coded.samples,)
    for done in range(halvings + 1):
        if pixels.shape == (*halved((coded.rows, coded.columns), done), *wanted):
            return shrink(pixels, halvings - done)
    raise UnreadableObjectError(
        "broken-pixels",
        f"A frame decodes to {pixels.shape}, but the header says {coded.rows} x {coded.columns}.",
    )
