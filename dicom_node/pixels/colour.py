"""Kinds of colour: what an image says of its own, and colours of a scanner to sRGB, by the ICC profile that
came with the image (PS3.3 C.11.15)."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms
from pydicom import Dataset

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.ground import first_item, text, value

Rgb = NDArray[np.uint8]
MAX_PROFILE = 1 << 24
"""Bytes; scanners' profiles have up to some hundred thousand."""


def photometric_of(header: Dataset) -> str:
    """Photometric Interpretation (0028,0004). Raises UnreadableObjectError where there is none: what has no
    pixels has none."""
    told = text(header, "PhotometricInterpretation")
    if not told:
        raise UnreadableObjectError(
            "missing-attribute", "It has no PhotometricInterpretation: its pixels, if any, are not described."
        )
    return told


def to_srgb(header: Dataset) -> tuple[Callable[[Rgb], Rgb] | None, str | None]:
    """What makes (H, W, 3) uint8 of this object sRGB, and what is to be told of it. None where there is no
    profile, where it is sRGB already, or (told) where it cannot be used."""
    path = first_item(header, "OpticalPathSequence") or header
    profile = value(path, "ICCProfile")
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE:
        return None, None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(source).lower():
            return None, None
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(source, target, "RGB", "RGB")
        ImageCms.applyTransform(Image.new("RGB", (1, 1)), transform)  # some can be built and not applied
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, "Its ICC profile cannot be used; colours were taken as they are."

    def convert(pixels: Rgb) -> Rgb:
        converted = ImageCms.applyTransform(Image.fromarray(pixels), transform)
        return np.asarray(converted) if converted is not None else pixels

    return convert, "Colours were converted to sRGB by the ICC profile of the scanner."
