"""Frames decoded smaller beside the full size averaged over blocks, on the real images among the samples.

Tolerances are parts of the image's range. DCT scaling is the mean of a block to a grey level; the low-pass
band of a wavelet is another filter (5/3 taps for the reversible transform), which keeps more of sharp edges:
bones against air, the patient's rim.
"""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.uid import JPEG2000, HTJ2KLossless, JPEG2000Lossless, JPEGBaseline8Bit

from dicom_node.pixels.decoders.coded import Coded, halved, shrink
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.streams import inspect
from tests.support.pixel_objects import SAMPLES

WAVELET_MEAN = {1: 0.01, 2: 0.025, 3: 0.05}
WAVELET_CORRELATION = {1: 0.995, 2: 0.975, 3: 0.94}
DCT_MEAN, DCT_FAR = 0.002, 0.01


def sample(name: str) -> NDArray[np.uint16]:
    """12 bits, from 0 on."""
    pixels = dcmread(SAMPLES / name).pixel_array.astype(np.int32)
    pixels -= pixels.min()
    return (pixels * 4095 // pixels.max()).astype(np.uint16)


IMAGES = {"xray": sample("xray/chest-pa.dcm"), "ct": sample("ct/slice-3.dcm")}


def coded(data: bytes, syntax: str, pixels: NDArray[np.integer], photometric: str = "MONOCHROME2") -> Coded:
    return Coded(
        data=bytes(data),
        transfer_syntax=str(syntax),
        rows=pixels.shape[0],
        columns=pixels.shape[1],
        samples=1 if pixels.ndim == 2 else 3,
        bits_allocated=8 * pixels.itemsize,
        bits_stored=8 * pixels.itemsize,
        signed=False,
        photometric=photometric,
        planar=0,
        stream=inspect(bytes(data)),
    )


def away(frame: Coded, halvings: int) -> tuple[NDArray[np.float64], float]:
    """Differences to the mean over blocks, in parts of the range, and the correlation with it."""
    wanted = shrink(decode(frame, 0, contained=True), halvings).astype(np.float64)
    small = decode(frame, halvings, contained=True)
    assert small.shape[:2] == halved((frame.rows, frame.columns), halvings)
    difference = np.abs(small - wanted) / np.ptp(wanted)
    return difference, float(np.corrcoef(small.ravel(), wanted.ravel())[0, 1])


@pytest.mark.parametrize("halvings", [1, 2, 3])
@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("codec", ["JPEG 2000, reversible", "JPEG 2000, irreversible", "HTJ2K"])
def test_wavelets(codec: str, name: str, halvings: int) -> None:
    pixels = IMAGES[name]
    data, syntax = {
        "JPEG 2000, reversible": (imagecodecs.jpeg2k_encode(pixels, codecformat="J2K"), JPEG2000Lossless),
        "JPEG 2000, irreversible": (
            imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=60),
            JPEG2000,
        ),
        "HTJ2K": (imagecodecs.htj2k_encode(pixels), HTJ2KLossless),
    }[codec]
    difference, correlation = away(coded(data, syntax, pixels), halvings)
    assert difference.mean() <= WAVELET_MEAN[halvings]
    assert correlation >= WAVELET_CORRELATION[halvings]


@pytest.mark.parametrize("halvings", [1, 2, 3])
@pytest.mark.parametrize("name", [*IMAGES, "retina"])
def test_dct(name: str, halvings: int) -> None:
    if name == "retina":
        pixels, far = dcmread(SAMPLES / "retina" / "fundus-left.dcm").pixel_array, 0.05
    else:
        pixels, far = (IMAGES[name] >> 4).astype(np.uint8), DCT_FAR
    frame = coded(imagecodecs.jpeg8_encode(pixels, level=95), JPEGBaseline8Bit, pixels, "YBR_FULL_422")
    difference, correlation = away(frame, halvings)
    assert difference.mean() <= DCT_MEAN
    assert difference.max() <= far
    assert correlation >= 0.9999
