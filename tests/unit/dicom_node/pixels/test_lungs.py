"""Lung is told from a body without it, from air that is no lung, and from foam beside the body."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from dicom_node.pixels.lungs import LEAST, lung_share, without_lung
from tests.support.samples import sample_files
from tests.support.tree import ROOT

DICOM = Path(os.environ.get("M3BIND_DICOM", ROOT.parent / "shared" / "dicom"))
Slice = NDArray[np.float32]


def body(*holes: tuple[float, float, float], size: int = 256, noise: float = 30.0) -> Slice:
    """An ellipse of tissue in air on a foam mattress; `holes`: across, radius, HU."""
    y, x = np.mgrid[:size, :size] / size
    values = np.full((size, size), -1000.0)
    values[(y > 0.65) & (y < 0.75)] = -900.0
    values[((x - 0.5) / 0.35) ** 2 + ((y - 0.45) / 0.22) ** 2 < 1] = 40.0
    for across, radius, hu in holes:
        values[(x - across) ** 2 + (y - 0.45) ** 2 < radius**2] = hu
    values += np.random.default_rng(1).normal(0, noise, values.shape)
    return values.astype(np.float32)


@pytest.mark.parametrize("density", [-920.0, -850.0, -600.0])
def test_lung_is_measured_as_part_of_the_body(density: float) -> None:
    """Each lung is pi 0.12 squared of a body of pi 0.35 x 0.22: 0.187."""
    both = lung_share(body((0.33, 0.12, density), (0.67, 0.12, density)))
    one = lung_share(body((0.33, 0.12, density)))
    assert both == pytest.approx(2 * 0.187, abs=0.05)
    assert one == pytest.approx(both / 2, abs=0.02)


def test_what_a_tumour_or_an_effusion_leaves_of_one_lung_is_enough() -> None:
    assert without_lung(lung_share(body((0.33, 0.065, -850.0))), 1) is None


@pytest.mark.parametrize(
    "holes",
    [(), ((0.5, 0.03, -1000.0),), ((0.35, 0.1, -1010.0), (0.65, 0.1, -1010.0)), ((0.5, 0.1, -100.0),)],
    ids=["solid", "windpipe", "gas", "fat"],
)
def test_what_is_no_lung_is_not_counted(holes: tuple[tuple[float, float, float], ...]) -> None:
    share = lung_share(body(*holes, noise=10.0))
    assert share < LEAST
    told = without_lung(share, 7)
    assert told is not None
    assert told.startswith("no-lung: of the 7 slice(s)")
    assert f"{100 * share:.1f} %" in told


def test_a_slice_of_air_has_no_lung() -> None:
    assert lung_share(np.full((64, 48), -850.0, dtype=np.float32)) == 0.0


def test_every_slice_of_the_sample_has_lung() -> None:
    assert [without_lung(lung_share(_hounsfield(path)), 1) for path in sample_files("ct")] == [None] * 5


@pytest.mark.data
@pytest.mark.skipif(not DICOM.is_dir(), reason="the odd files are not here: set M3BIND_DICOM")
@pytest.mark.parametrize(
    ("name", "lung"),
    [
        ("cornerstone3D__CTImage.dcm", False),
        ("cornerstone3D__CT2_J2KR.dcm", False),
        ("pydicom__693_J2KI.dcm", False),
        ("dicomParser__CT1_UNC.explicit_big_endian.dcm", True),
    ],
)
def test_real_necks_and_heads_have_none(name: str, lung: bool) -> None:
    assert (lung_share(_hounsfield(DICOM / name)) >= LEAST) is lung


def _hounsfield(path: Path) -> Slice:
    ds = dcmread(path)
    values = ds.pixel_array.astype(np.float32) * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
    return np.asarray(values, dtype=np.float32)
