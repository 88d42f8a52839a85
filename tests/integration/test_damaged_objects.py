"""Damaged variants of the sample studies: each ends in tensors or in a refusal with its reason, whatever the
codec does, in bounded time and memory.

M3BIND_DAMAGED says how many variants of each object and kind of damage are tried; 2 unless told.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dicom_node.bundle.store import open_bundle
from dicom_node.errors import InputError
from dicom_node.pixels import contained
from dicom_node.pixels.contained import DecoderPool
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from tests.support.damage import KINDS
from tests.support.pixel_objects import SAMPLES
from tests.support.tree import ROOT

EACH = int(os.environ.get("M3BIND_DAMAGED", "2"))
SECONDS = contained.SECONDS + 15.0
"""For one object: a decoder that hangs is ended in time; undamaged objects take less than a second."""
ENCODERS = open_bundle(ROOT / "dicom_node" / "assets" / "m3bind-mini").manifest.encoders


def transcoded(folder: Path) -> Iterator[Path]:
    """The radiograph and a CT slice in every compressed syntax that can be written here."""
    for source in (SAMPLES / "xray" / "chest-pa.dcm", SAMPLES / "ct" / "slice-1.dcm"):
        pixels = dcmread(source).pixel_array
        words = pixels.view(np.uint16) if pixels.itemsize == 2 else pixels
        frames = {
            JPEG2000Lossless: imagecodecs.jpeg2k_encode(words, codecformat="J2K"),
            HTJ2KLossless: imagecodecs.htj2k_encode(words),
            JPEGLSLossless: imagecodecs.jpegls_encode(words),
            JPEGBaseline8Bit: imagecodecs.jpeg8_encode((words >> 4).astype(np.uint8)),
        }
        for syntax, data in frames.items():
            ds = dcmread(source)
            ds.file_meta.TransferSyntaxUID = syntax
            if syntax == JPEGBaseline8Bit:
                ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
                if "RescaleSlope" in ds:  # a sixteenth of the values, as many HU
                    ds.RescaleSlope = 16 * ds.RescaleSlope
            ds.PixelData = encapsulate([bytes(data)])
            ds["PixelData"].VR = "OB"
            path = folder / f"{source.stem}-{syntax.name[:12].replace(' ', '')}-{syntax[-3:]}.dcm"
            ds.save_as(path)
            yield path
        ds = dcmread(source)
        ds.compress(RLELossless, generate_instance_uid=False)
        ds.save_as(folder / f"{source.stem}-rle.dcm")
        yield folder / f"{source.stem}-rle.dcm"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    others = transcoded(tmp_path_factory.mktemp("transcoded"))
    slices = [f"slice-{i}.dcm" for i in range(2, 6)]  # one of five is enough
    return [*(p for p in sorted(SAMPLES.glob("*/*.dcm")) if p.name not in slices), *others]


def test_the_originals_are_read(originals: list[Path]) -> None:
    with DecoderPool(1) as pool:
        for path in originals:
            read = read_study([read_instance(path)], ENCODERS, pool)
            alone = path.name == "level-1.dcm"  # of a slide: too coarse by itself
            assert bool(read.views) is not alone, f"{path.name}: {[s.message for s in read.skipped]}"


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_damage_ends_in_tensors_or_a_refusal(kind: str, originals: list[Path], tmp_path: Path) -> None:
    contents = [path.read_bytes() for path in originals]
    random = np.random.default_rng(sorted(KINDS).index(kind))
    slowest, refused, taken = 0.0, 0, 0
    with DecoderPool(1) as pool:
        for path, content in zip(originals, contents, strict=True):
            for _ in range(EACH):
                other = contents[int(random.integers(0, len(contents)))]
                damaged = tmp_path / path.name
                damaged.write_bytes(KINDS[kind](content, other, random))
                kept = damaged.read_bytes()
                began = time.monotonic()
                try:
                    read = read_study([read_instance(damaged)], ENCODERS, pool)
                except InputError:
                    refused += 1
                else:
                    assert read.views or read.skipped, "an object is neither used nor told of"
                    assert all(entry.reason and entry.message for entry in read.skipped)
                    for view in read.views:
                        shapes = {sample.values.shape for sample in view.samples}
                        assert shapes == {ENCODERS[view.modality].input_shape}
                        assert all(np.isfinite(sample.values).all() for sample in view.samples)
                    taken += 1
                slowest = max(slowest, time.monotonic() - began)
                assert damaged.read_bytes() == kept, "what was received must stay as it is"
    assert slowest < SECONDS
    assert refused + taken == EACH * len(originals)
    peak_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_kilobytes < 4 << 20
