"""Which slices make a CT series: duplicates, several phases, gaps, uneven spacing, derived series."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.pixels.select import read_study
from dicom_node.pixels.slices import evenly_placed
from dicom_node.records import StudyRead
from tests.support.pixel_objects import ct_slice, encoder, save


def run(folder: Path, slices: int, *objects: Dataset) -> StudyRead:
    return read_study([save(ds, folder) for ds in objects], {"ct": encoder("ct", slices=slices)})


def levels(read: StudyRead) -> list[float]:
    (view,) = read.views
    return [float(s.values[0, 0]) for s in view.samples]


def test_a_slice_that_was_sent_twice_counts_once(tmp_path: Path) -> None:
    objects = [ct_slice(z, 10 * z) for z in (0, 10, 10, 20)]
    for index, ds in enumerate(objects):
        ds.InstanceNumber = index + 1
    read = run(tmp_path, 8, *objects)
    assert levels(read) == [0, 100, 200]
    (left,) = read.skipped
    assert (left.reason, left.sop_instance_uid) == ("duplicate-slice", objects[2].SOPInstanceUID)


def test_of_several_acquisitions_the_fullest_is_read(tmp_path: Path) -> None:
    plain = [ct_slice(z, 0) for z in (0, 10, 20)]
    contrast = [ct_slice(z, 100) for z in (0, 10, 20, 30)]
    for number, phase in enumerate((plain, contrast)):
        for ds in phase:
            ds.AcquisitionNumber = number + 1
    read = run(tmp_path, 8, *plain, *contrast)
    assert levels(read) == [100] * 4
    assert Counter(s.reason for s in read.skipped) == {"other-phase": 3}
    assert any("2 acquisitions" in note for note in read.views[0].notes)


def test_acquisitions_that_follow_each_other_are_one_series(tmp_path: Path) -> None:
    objects = [ct_slice(z, 0) for z in (0, 10, 20, 30)]
    for index, ds in enumerate(objects):
        ds.AcquisitionNumber = index // 2
    assert len(levels(run(tmp_path, 8, *objects))) == 4


def test_missing_slices_are_told(tmp_path: Path) -> None:
    read = run(tmp_path, 8, *(ct_slice(z, 0) for z in (0, 10, 20, 50, 60, 70)))
    assert "Slices are missing at 1 place(s) of the series." in read.views[0].notes
    other = run(tmp_path, 8, *(ct_slice(z, 0) for z in (0, 10, 20, 30)))
    assert not other.views[0].notes


def test_uneven_spacing_is_sampled_by_place_and_not_by_count() -> None:
    positions = [*np.arange(0, 50, 1.0), *np.arange(50, 101, 10.0)]  # thin slices below, thick ones above
    chosen = [positions[i] for i in evenly_placed(positions, 4)]
    np.testing.assert_allclose(chosen, [12.5, 37.5, 62.5, 87.5], atol=5)
    even = list(np.arange(20.0))
    assert evenly_placed(even, 4) == [2, 7, 12, 17]
    assert evenly_placed(positions[:3], 4) == [0, 1, 2]
    few_places = [0.0, 0.1, 0.2, 0.3, 100.0]
    assert len(set(evenly_placed(few_places, 4))) == 4


def test_a_derived_series_is_read_only_where_there_is_no_other(tmp_path: Path) -> None:
    derived = [ct_slice(z, 50, series=generate_uid()) for z in (0,)]
    derived[0].ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    assert levels(run(tmp_path, 8, *derived)) == [50]
    read = run(tmp_path, 8, *derived, ct_slice(0, 0), ct_slice(10, 0))
    assert levels(read) == [0, 0]
    assert [s.reason for s in read.skipped] == ["secondary-series"]


def test_projections_are_no_slices(tmp_path: Path) -> None:
    projection = ct_slice(0, 0)
    projection.ImageType = ["DERIVED", "SECONDARY", "MIP"]
    assert [s.reason for s in run(tmp_path, 8, projection).skipped] == ["projection"]
