"""Which slices make a CT series: duplicates, several phases, gaps, uneven spacing, derived series."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.evidence import find_evidence
from dicom_node.pixels import ct
from dicom_node.pixels.select import read_study
from dicom_node.pixels.slices import Slice, evenly_placed
from dicom_node.records import StudyRead, ViewVectors
from tests.support.pixel_objects import ct_slice, encoder, enhanced_ct, save


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


def test_cosines_that_differ_in_their_last_digits_are_of_one_series(tmp_path: Path) -> None:
    objects = [ct_slice(10 * i, 0) for i in range(6)]
    for index, ds in enumerate(objects):
        near = f"{0.995 + (1e-6 if index % 2 else -1e-6):.6f}"
        ds.ImageOrientationPatient = [near, "0.099875", "0", "-0.099875", near, "0"]
    assert len(levels(run(tmp_path, 8, *objects))) == 6


def test_missing_slices_are_told(tmp_path: Path) -> None:
    read = run(tmp_path, 8, *(ct_slice(z, 0) for z in (0, 10, 20, 50, 60, 70)))
    assert "Slices are missing at 1 place(s) of the series." in read.views[0].notes
    other = run(tmp_path, 8, *(ct_slice(z, 0) for z in (0, 10, 20, 30)))
    assert not any("missing" in note for note in other.views[0].notes)


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


@pytest.mark.parametrize(
    "kind",
    [
        ["DERIVED", "SECONDARY", "MIP"],
        ["DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"],
        ["DERIVED", "SECONDARY", "DOSE_INFO"],
        ["DERIVED", "SECONDARY", "SCREEN SAVE"],
    ],
)
def test_projections_are_no_slices(tmp_path: Path, kind: list[str]) -> None:
    projection = ct_slice(0, 0)
    projection.ImageType = kind
    read = run(tmp_path, 8, projection, ct_slice(0, 40))
    assert levels(read) == [40]
    assert [s.reason for s in read.skipped] == ["projection"]


def test_frames_that_are_no_slices_are_left_out_and_told(tmp_path: Path) -> None:
    ds = enhanced_ct([0, 10, 20, 30])
    frames = ds.PerFrameFunctionalGroupsSequence
    kind, across = Dataset(), Dataset()
    kind.FrameType = ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]
    frames[0].CTImageFrameTypeSequence = [kind]
    across.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]  # coronal
    frames[2].PlaneOrientationSequence = [across]
    read = run(tmp_path, 8, ds)
    assert levels(read) == [100, 300]
    assert "2 frames were left out: localisers, projections, or not axial." in read.views[0].notes
    for frame in frames:
        frame.PlaneOrientationSequence = [across]
    read = run(tmp_path, 8, ds)
    assert [s.reason for s in read.skipped] == ["projection"]


def test_what_was_derived_and_what_is_coarse_is_told(tmp_path: Path) -> None:
    ds = ct_slice(0, 0)
    ds.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    ds.RescaleSlope = 32
    (view,) = run(tmp_path, 8, ds).views
    assert any("derived from other images" in note for note in view.notes)
    assert any("in steps of 32 HU" in note for note in view.notes)


def test_the_slice_that_gave_the_evidence_is_named(tmp_path: Path) -> None:
    objects = [ct_slice(z, 10 * z) for z in (0, 10, 20)]
    (view,) = run(tmp_path, 8, *objects).views
    direction = np.array([1, 0], dtype=np.float32)
    for index in range(3):
        embeddings = np.zeros((3, 2), dtype=np.float32)
        embeddings[:, 1], embeddings[index] = 1, direction
        maps = np.zeros((3, 2, 2, 2), dtype=np.float32)
        maps[:, :, :, 1], maps[index, 0, 0] = 1, (4, 0)
        found = find_evidence(view, ViewVectors(embeddings, maps), direction, Pooling(), 0.5)
        assert [one.source.sop_instance_uid for one in found] == [objects[index].SOPInstanceUID]


def numbered(z: float, value: int, instance: int, acquisition: int) -> Dataset:
    ds = ct_slice(z, value)
    ds.InstanceNumber, ds.AcquisitionNumber = instance, acquisition
    return ds


def test_step_and_shoot_with_one_duplicate_loses_only_that(tmp_path: Path) -> None:
    objects = [numbered(5.0 * i, 2 * i, i + 1, i + 1) for i in range(12)]
    read = run(tmp_path, 20, *objects, numbered(15.0, 6, 100, 4))
    assert levels(read) == [2 * i for i in range(12)]
    assert Counter(left.reason for left in read.skipped) == {"duplicate-slice": 1}


def test_acquisitions_that_share_one_place_are_both_read(tmp_path: Path) -> None:
    lower = [numbered(5.0 * i, 0, i, 1) for i in range(6)]
    upper = [numbered(25 + 5.0 * i, 100, 50 + i, 2) for i in range(6)]
    assert levels(run(tmp_path, 20, *lower, *upper)) == [0] * 6 + [100] * 5


@pytest.mark.parametrize("name", ["TriggerTime", "ContentTime"])
def test_phases_without_a_number_are_told_apart_by_time(tmp_path: Path, name: str) -> None:
    objects = []
    for i in range(6):
        for phase in (0, 1):
            ds = numbered(3.0 * i, 200 * phase, 2 * i + (phase if i % 2 else 1 - phase), 1)
            setattr(ds, name, f"1200{10 * phase:02d}")
            objects.append(ds)
    read = run(tmp_path, 20, *objects)
    assert levels(read) == [0] * 6
    assert any(name in note for note in read.views[0].notes)


def test_phases_of_a_multi_frame_object(tmp_path: Path) -> None:
    order = [(z, phase if z % 20 else 1 - phase) for z in range(0, 60, 10) for phase in (0, 1)]
    ds = enhanced_ct([z for z, _ in order])
    stored = [np.full((8, 8), 1024 + 500 * phase, dtype=np.uint16) for _, phase in order]
    ds.PixelData = np.stack(stored).tobytes()
    for group, (_, phase) in zip(ds.PerFrameFunctionalGroupsSequence, order, strict=True):
        content = Dataset()
        content.TemporalPositionIndex = phase + 1
        group.FrameContentSequence = [content]
    assert levels(run(tmp_path, 20, ds)) == [0] * 6


def test_padding_is_air(tmp_path: Path) -> None:
    ds = ct_slice(0, 0)
    stored = np.full((16, 16), 512, dtype=np.uint16)
    stored[:, :8] = 4000
    ds.PixelData = stored.tobytes()
    ds.PixelPaddingValue = 4000
    (view,) = run(tmp_path, 1, ds).views
    values = view.samples[0].values
    assert (values[:, :8] == -1024).all()
    assert (values[:, 8:] == 0).all()


def test_objects_are_decoded_side_by_side_and_stay_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=20)
    real = ct._decoded_object

    def together(group: Sequence[Slice]) -> object:
        both.wait()
        return real(group)

    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(ct, "_decoded_object", together)
    assert levels(run(tmp_path, 20, *(ct_slice(z, 2 * z) for z in range(8)))) == [2 * z for z in range(8)]
