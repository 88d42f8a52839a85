"""Modality and VOI tables together, polarity of 8 bits, and scales that are absurd."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.pixels.select import read_study
from dicom_node.records import StudyRead
from tests.support.pixel_objects import (
    MDC,
    channel,
    ct_slice,
    ecg,
    encoder,
    group,
    leads,
    radiograph,
    save,
)

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def run(folder: Path, ds: Dataset) -> StudyRead:
    return read_study(
        [save(ds, folder)],
        {"xray": encoder("radiograph"), "ct": encoder("ct", slices=4), "ecg": encoder("ecg", seconds=10)},
    )


def table(values: list[int]) -> Dataset:
    item = Dataset()
    item.LUTDescriptor, item.LUTData = [len(values), 0, 16], values
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


def test_a_voi_table_follows_a_modality_table(tmp_path: Path) -> None:
    ds = radiograph(RAMP, bits=12)
    modality = table([4 * v for v in range(256)])
    modality.ModalityLUTType = "US"
    ds.ModalityLUTSequence = [modality]
    ds.VOILUTSequence = [table([60 * (1023 - v) for v in range(1024)])]
    values = run(tmp_path, ds).views[0].samples[0].values.ravel()
    np.testing.assert_allclose(values, 60 * (1023 - 4 * RAMP.ravel().astype(float)) / 65535, atol=1e-5)


@pytest.mark.parametrize(("greatest", "top", "told"), [(50000, 65535, False), (4095, 4095, True)])
def test_a_voi_table_is_as_bright_as_its_bits_say(
    tmp_path: Path, greatest: int, top: int, told: bool
) -> None:
    ds = radiograph(RAMP, bits=12)
    ds.VOILUTSequence = [table([greatest * v // 255 for v in range(256)])]
    (view,) = run(tmp_path, ds).views
    np.testing.assert_allclose(
        view.samples[0].values.ravel(), RAMP.ravel() * (greatest / 255) / top, atol=3e-4
    )
    assert any("its bits do not fit" in note for note in view.notes) is told


def test_a_falling_slope_keeps_its_polarity_in_8_bits(tmp_path: Path) -> None:
    ds = radiograph(RAMP.astype(np.uint8))
    ds.RescaleSlope, ds.RescaleIntercept = -1, 255
    values = run(tmp_path, ds).views[0].samples[0].values
    np.testing.assert_allclose(values, 1 - RAMP / 255, atol=1e-6)


@pytest.mark.parametrize("kind", ["radiograph", "window", "ct", "ecg"])
def test_an_absurd_scale_is_refused(tmp_path: Path, kind: str) -> None:
    ds = ct_slice(0, 100) if kind == "ct" else radiograph(RAMP, bits=12)
    if kind == "ecg":
        ds = ecg(group(leads(), [channel((code, "MDC"), sensitivity=1e300) for code in MDC]))
    elif kind == "window":
        ds.WindowCenter = ds.WindowWidth = "1e300"
    else:
        ds.RescaleSlope, ds.RescaleIntercept = "1e300", "0"
    read = run(tmp_path, ds)
    assert read.views == ()
    assert [left.reason for left in read.skipped] == ["not-finite"]
