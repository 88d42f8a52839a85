"""From a file of a data set to what the node's reader would hand to the first operation.

The forms are those of `Encoder.reader` in `dicom_node/bundle/manifest.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicom_node.errors import ConfigError
from dicom_node.pixels.ops import Patch
from dicom_node.records import Box

CT_JPEG_CENTER, CT_JPEG_WIDTH = -500.0, 1500.0
"""The window, in HU, that IQ-OTH/NCCD's JPEG slices were saved with. Not stated by its authors; inferred: air
(-1024 HU) is grey 38 of 255 in every slice, and soft tissue, vessels and bone then fall on the HU that real
DICOM slices of the chest show (median 12 to 42, 97 to 194, above 250)."""


def _whole(values: NDArray[np.float32]) -> Patch:
    height, width = values.shape[:2]
    return Patch(values, Box(0.0, 0.0, float(width), float(height)))


def _grey(path: Path) -> NDArray[np.float32]:
    with Image.open(path) as image:
        return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255.0)


def read_radiograph(path: Path) -> Patch:
    """(H, W) float32, 0 to 1, bright is dense."""
    return _whole(_grey(path))


def read_ct(path: Path) -> Patch:
    """(H, W) float32 HU, from an 8-bit JPEG; what its window clipped stays clipped."""
    low = np.float32(CT_JPEG_CENTER - CT_JPEG_WIDTH / 2)
    return _whole(low + _grey(path) * np.float32(CT_JPEG_WIDTH))


def read_colour(path: Path) -> Patch:
    """(H, W, 3) float32, 0 to 1, RGB."""
    with Image.open(path) as image:
        return _whole(np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255.0))


LEADS = ("I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6")


def read_wfdb(path: Path, microvolts: bool = False) -> Patch:
    """(12, T) float32 mV, leads I to V6, from a WFDB header and its format 16 signal file.

    `microvolts`: one count is 1 uV whatever the header says. Only what PTB-XL and LUDB use is understood
    (header(5) and signal(5) of the WFDB manual); anything else raises ConfigError.
    """
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    name, count, rate, length = lines[0].split()[:4]
    signals = [line.split() for line in lines[1 : 1 + int(count)]]
    if any(s[1] != "16" for s in signals) or len({s[0] for s in signals}) != 1:
        raise ConfigError(f"Record {name}: only one signal file of format 16 is read.")
    raw = np.fromfile(path.parent / signals[0][0], dtype="<i2").reshape(int(length), int(count)).T
    by_lead = {}
    for signal, samples in zip(signals, raw, strict=True):
        gain, _, rest = signal[2].partition("(")
        baseline, _, unit = rest.partition(")/")
        if unit.lower() != "mv":
            raise ConfigError(f"Record {name}: unit {unit!r} is not mV.")
        zero, per_mv = (0.0, 1000.0) if microvolts else (float(baseline), float(gain))
        by_lead[signal[8].upper()] = (samples.astype(np.float32) - zero) / per_mv
    values = np.stack([by_lead[lead] for lead in LEADS]).astype(np.float32)
    return Patch(values, rate=float(rate), span=(0.0, values.shape[1] / float(rate)))


def read_ludb(path: Path) -> Patch:
    """As `read_wfdb`, in counts of 1 uV: LUDB's headers scale each lead on its own, so that I + III is not II
    (off by 0.36 mV in record 1), while the counts obey it to the last bit."""
    return read_wfdb(path, microvolts=True)


READERS: Mapping[str, Callable[[Path], Patch]] = {
    "radiograph": read_radiograph,
    "ct": read_ct,
    "retina": read_colour,
    "slide": read_colour,
    "ecg": read_wfdb,
}
"""By `Encoder.reader`."""

DATASET_READERS: Mapping[str, Callable[[Path], Patch]] = {"ludb": read_ludb}
"""By data set, where its files need one of their own."""
