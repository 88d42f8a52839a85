"""Whether an axial CT slice shows lung: what no finding of a chest CT can be made of without.

A scope test compares whole pictures, and a slice of the neck or the belly is not far from one of the chest.
Lung is easier to tell: tissue full of air, enclosed by the body. Its density tells it from air alone, which
fills windpipe, sinuses and bowel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.pixels.body import Bools, filled, torso

DENSEST, THINNEST = -500.0, -970.0
"""HU of lung: aerated lung is -910 to -500, emphysema less than -950; air is -1000."""
BODY = -400.0
"""HU; what is denser may be body, see `body.torso`."""
LEAST = 0.03
"""Of the body's area on one slice. Measured: all 1,054 slices of IQ-OTH/NCCD 0.065 and more, chests of the
DICOM collections at hand 0.11 and more; bellies with gas in their bowel 0.027 and less, the lowest tip of a
lung 0.010, a neck and heads 0.002 and less. Half of the least, as when one lung is lost, is still above."""


def lung_share(hu: NDArray[np.float32]) -> float:
    """(H, W) HU to the part of the body's area that is lung, 0 to 1; 0 where there is no body."""
    body = torso(hu, BODY)
    if body is None:
        return 0.0
    air = _mostly(hu < DENSEST, body.shape)
    enclosed = filled(~air) & air & body
    lung = enclosed & _mostly((hu > THINNEST) & (hu < DENSEST), body.shape)
    return float(lung.sum() / body.sum())


def without_lung(share: float, slices: int) -> str | None:
    """Why a series is none of the chest, of whose `slices` none has more lung than `share`; None where it
    may be."""
    if share >= LEAST:
        return None
    return (
        f"no-lung: of the {slices} slice(s) read, none shows lung: air-filled tissue is at most "
        f"{100 * share:.1f} % of the body on any, and {100 * LEAST:.0f} % or more where the chest is."
    )


def _mostly(mask: Bools, shape: tuple[int, ...]) -> Bools:
    """On a coarse grid of this shape: cells that lie in the mask by more than half."""
    fine = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
    return np.asarray(fine.resize((shape[1], shape[0]), Image.Resampling.BOX)) > 127
