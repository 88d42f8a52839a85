"""Real files of every transfer syntax, odd and broken: nothing but an InputError may come of any of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dicom_node.errors import InputError
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.select import read_study
from dicom_node.records import StudyRead
from tests.support.pixel_objects import SAMPLES, encoder

ROOT = Path(__file__).resolve().parents[4]
FOLDER = Path(os.environ.get("M3BIND_DICOM", ROOT.parent / "shared" / "dicom"))
FILES = sorted(FOLDER.glob("*.dcm"))
ENCODERS = {
    "xray": encoder(
        "radiograph",
        {"op": "percentile_stretch", "low": 1, "high": 99},
        {"op": "resize", "size": [64, 64]},
        {"op": "grey_to_rgb"},
        {"op": "channels_first"},
    ),
    "ct": encoder(
        "ct",
        {"op": "window", "center": 40, "width": 400},
        {"op": "resize", "size": [64, 64]},
        {"op": "channels_first"},
        slices=4,
    ),
    "retina": encoder(
        "retina",
        {"op": "crop_field", "threshold": 0.05},
        {"op": "resize", "size": [64, 64]},
        {"op": "channels_first"},
    ),
    "ecg": encoder(
        "ecg",
        {"op": "highpass", "cutoff": 0.5},
        {"op": "resample", "rate": 100},
        {"op": "fit_length", "seconds": 10},
        seconds=10,
    ),
    "pathology": encoder("slide", {"op": "channels_first"}, microns_per_pixel=1.0, tile=64, tiles=4),
}
SHAPES = {
    "xray": (3, 64, 64),
    "ct": (1, 64, 64),
    "retina": (3, 64, 64),
    "ecg": (12, 1000),
    "pathology": (3, 64, 64),
}


def check(read: StudyRead) -> None:
    """One instance went in: it is used or listed, and what came out is fit for an encoder."""
    assert len(read.skipped) + len(read.views) >= 1
    for entry in read.skipped:
        assert entry.reason
        assert entry.message
    for view in read.views:
        for sample in view.samples:
            assert sample.values.shape == SHAPES[view.modality]
            assert sample.values.dtype == np.float32
            assert np.isfinite(sample.values).all()


@pytest.mark.data
@pytest.mark.skipif(not FILES, reason="the odd files are not here: set M3BIND_DICOM")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_real_file(path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        instance = read_instance(path)
    except InputError:
        return
    check(read_study([instance], ENCODERS))
    assert not caplog.records, "what pydicom says may quote patient data"
    assert capfd.readouterr() == ("", "")


@pytest.mark.data
@pytest.mark.skipif(not FILES, reason="the odd files are not here: set M3BIND_DICOM")
def test_most_of_what_a_reader_exists_for_is_read() -> None:
    wanted = {"1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.2"}
    anywhere = {f"any_{name}": found for name, found in ENCODERS.items()}  # whatever the body part
    read = total = 0
    for path in FILES:
        try:
            instance = read_instance(path)
        except InputError:
            continue
        if instance.sop_class_uid in wanted:
            total += 1
            read += bool(read_study([instance], anywhere).views)
    assert total >= 25
    assert read >= 0.7 * total


def _damaged(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Cut short, and with bytes changed: most of them in the header, where the structure is."""
    for _ in range(6):
        yield data[: int(rng.integers(140, len(data)))]
    for limit in (1500, 3000, len(data)):
        for _ in range(8):
            broken = np.frombuffer(data, dtype=np.uint8).copy()
            places = rng.integers(132, min(limit, len(data)), 12)
            broken[places] = rng.integers(0, 256, 12)
            yield broken.tobytes()


@pytest.mark.parametrize(
    "name",
    ["xray/chest-pa", "ct/slice-1", "retina/fundus-left", "ecg/resting-12-lead", "pathology/level-1"],
)
def test_a_damaged_sample(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.dcm"
    for data in _damaged((SAMPLES / f"{name}.dcm").read_bytes(), np.random.default_rng(11)):
        path.write_bytes(data)
        try:
            instance = read_instance(path)
        except InputError:
            continue
        check(read_study([instance], ENCODERS))
    assert not caplog.records
