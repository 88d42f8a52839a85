from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.errors import BundleFormatError
from dicom_node.pixels.headers import walk
from dicom_node.pixels.select import read_study
from dicom_node.records import Box, StudyRead
from tests.support.pixel_objects import SAMPLES, ct_slice, encoder, enhanced_ct, save


def run(folder: Path, slices: int, *objects: Dataset) -> StudyRead:
    return read_study([save(ds, folder) for ds in objects], {"ct": encoder("ct", slices=slices)})


def levels(read: StudyRead) -> list[float]:
    """HU of each sample of the only view; in these tests every slice has one value."""
    (view,) = read.views
    return [float(s.values[0, 0]) for s in view.samples]


def test_the_sample_study() -> None:
    instances, _ = walk([SAMPLES / "ct"])
    read = read_study(instances, {"ct": encoder("ct", slices=16)})
    (view,) = read.views
    assert read.skipped == ()
    assert len(view.samples) == 5
    assert view.strange is None
    assert view.samples[0].box == Box(0, 0, 512, 512)
    middle = view.samples[2].values
    assert middle.min() == -1024
    lung = ((middle > -950) & (middle < -700)).mean()
    assert 0.05 < lung < 0.5, "air-filled lung at the density of lung"


def test_slices_are_ordered_along_the_body_and_in_hounsfield_units(tmp_path: Path) -> None:
    shuffled = [ct_slice(z, 10 * int(z)) for z in (30, 0, 20, 10)]
    read = run(tmp_path, 8, *shuffled)
    assert levels(read) == [0, 100, 200, 300]
    assert [s.sop_instance_uid for s in read.views[0].sources] == [
        shuffled[i].SOPInstanceUID for i in (1, 3, 2, 0)
    ]


def test_the_order_follows_the_normal_whichever_way_rows_run(tmp_path: Path) -> None:
    objects = [ct_slice(z, 10 * int(z)) for z in (20, 0, 10)]
    for ds in objects:
        ds.ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]  # normal towards the feet
    assert levels(run(tmp_path, 8, *objects)) == [0, 100, 200]


def test_sampling_is_even_and_the_rest_is_listed(tmp_path: Path) -> None:
    read = run(tmp_path, 4, *(ct_slice(z, 2 * z) for z in range(20)))
    assert levels(read) == [4, 14, 24, 34]
    assert {s.reason for s in read.skipped} == {"not-sampled"}
    assert len(read.skipped) == 16
    assert "4 of 20" in read.views[0].notes[0]


def test_each_series_is_a_view(tmp_path: Path) -> None:
    read = run(tmp_path, 4, *(ct_slice(z, 0, series) for series in ("1.2.5", "1.2.6") for z in range(3)))
    assert [(v.series_uid, len(v.samples)) for v in read.views] == [("1.2.5", 3), ("1.2.6", 3)]


def test_what_is_below_air_is_padding(tmp_path: Path) -> None:
    ds = ct_slice(0, 0)
    ds.RescaleIntercept = -4000
    assert levels(run(tmp_path, 1, ds)) == [-1024]


def test_what_does_not_belong_is_left_out(tmp_path: Path) -> None:
    scout = ct_slice(0, 0)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    sagittal = ct_slice(0, 0)
    sagittal.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    small = ct_slice(5, 0, size=8)
    unscaled = ct_slice(0, 0)
    del unscaled.RescaleSlope
    other = ct_slice(0, 0)
    other.RescaleType = "OD"
    strange = ct_slice(0, 0)
    strange.NumberOfFrames = 2
    good = [ct_slice(z, 0) for z in range(3)]
    read = run(tmp_path, 8, scout, sagittal, small, unscaled, other, strange, *good)
    assert len(read.views[0].samples) == 3
    assert {s.sop_instance_uid: s.reason for s in read.skipped} == {
        scout.SOPInstanceUID: "localizer",
        sagittal.SOPInstanceUID: "not-axial",
        small.SOPInstanceUID: "other-geometry",
        unscaled.SOPInstanceUID: "missing-rescale",
        other.SOPInstanceUID: "not-hounsfield",
        strange.SOPInstanceUID: "multi-frame",
    }


def test_a_tilted_gantry_is_still_axial(tmp_path: Path) -> None:
    ds = ct_slice(0, 40)
    ds.ImageOrientationPatient = [1, 0, 0, 0, float(np.cos(0.45)), float(np.sin(0.45))]
    assert levels(run(tmp_path, 1, ds)) == [40]


def test_one_broken_slice_does_not_stop_the_series(tmp_path: Path) -> None:
    objects = [ct_slice(z, 2 * z) for z in range(4)]
    objects[2].PixelData = b"\0\0"
    read = run(tmp_path, 8, *objects)
    assert levels(read) == [0, 2, 6]
    assert [(s.sop_instance_uid, s.reason) for s in read.skipped] == [
        (objects[2].SOPInstanceUID, "broken-pixels")
    ]
    assert "could not be read" in read.views[0].notes[0]


def test_nothing_readable_gives_no_view(tmp_path: Path) -> None:
    ds = ct_slice(0, 0)
    ds.PixelData = b"\0\0"
    read = run(tmp_path, 8, ds)
    assert read.views == ()
    assert [s.reason for s in read.skipped] == ["broken-pixels"]


def test_without_positions_the_instance_number_orders_and_that_is_told(tmp_path: Path) -> None:
    objects = [ct_slice(0, 2 * n) for n in (3, 1, 2)]
    for ds, number in zip(objects, (3, 1, 2), strict=True):
        ds.InstanceNumber = number
        del ds.ImagePositionPatient
    read = run(tmp_path, 8, *objects)
    assert levels(read) == [2, 4, 6]
    assert "instance number" in read.views[0].notes[0]


def test_a_bundle_without_a_number_of_slices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError, match=r"sampling\.slices"):
        read_study([save(ct_slice(0, 0), tmp_path)], {"ct": encoder("ct")})
    with pytest.raises(BundleFormatError, match="whole"):
        read_study([save(ct_slice(0, 0), tmp_path)], {"ct": encoder("ct", slices=1.5)})


def test_a_multi_frame_object_is_a_series(tmp_path: Path) -> None:
    read = run(tmp_path, 8, enhanced_ct([20, 0, 10]))
    assert levels(read) == [0, 100, 200]
    assert [s.frame for s in read.views[0].sources] == [2, 3, 1]
    assert [s.source.frame for s in read.views[0].samples] == [2, 3, 1]
    assert read.skipped == ()


def test_frames_of_a_multi_frame_object_are_sampled(tmp_path: Path) -> None:
    read = run(tmp_path, 2, enhanced_ct(range(8)))
    assert levels(read) == [20, 60]
    assert read.skipped == (), "the object was used"
    assert "2 of 8" in read.views[0].notes[0]


def test_several_multi_frame_objects_are_one_series(tmp_path: Path) -> None:
    assert levels(run(tmp_path, 8, enhanced_ct([20, 30]), enhanced_ct([0, 10]))) == [0, 100, 200, 300]


def test_multi_frame_objects_that_are_refused(tmp_path: Path) -> None:
    def reason(ds: Dataset) -> str:
        read = run(tmp_path, 4, ds)
        assert read.views == ()
        return read.skipped[0].reason

    assert reason(enhanced_ct([0, 10], RescaleType="US")) == "not-hounsfield"
    placeless = enhanced_ct([0, 10])
    del placeless.PerFrameFunctionalGroupsSequence
    assert reason(placeless) == "multi-frame"
    cut = enhanced_ct([0, 10])
    cut.PixelData = cut.PixelData[:10]
    assert reason(cut) == "broken-pixels"


def test_equally_large_groups_do_not_depend_on_the_order_of_arrival(tmp_path: Path) -> None:
    objects = [ct_slice(0, 10), ct_slice(1, 10), ct_slice(0, 20, size=8), ct_slice(1, 20, size=8)]
    assert levels(run(tmp_path, 4, *objects)) == levels(run(tmp_path, 4, *objects[::-1]))


def test_an_operation_that_refuses_a_slice_does_not_stop_the_series(tmp_path: Path) -> None:
    dark = {"ct": encoder("ct", {"op": "crop_field", "threshold": 0.5}, slices=4)}
    read = read_study([save(ct_slice(z, hu), tmp_path) for z, hu in ((0, -500), (1, 500))], dark)
    assert len(read.views[0].samples) == 1
    assert [s.reason for s in read.skipped] == ["no-fundus-field"]


@pytest.mark.parametrize(("places", "told"), [([0], True), ([0, 60], True), ([0, 60, 120], False)])
def test_a_series_that_shows_a_part_of_the_chest_only_says_so(
    tmp_path: Path, places: list[float], told: bool
) -> None:
    instances = [save(ct_slice(z, 40), tmp_path) for z in places]
    (view,) = read_study(instances, {"ct": encoder("ct", slices=4)}).views
    assert any("no whole chest" in note for note in view.notes) is told


def test_a_series_without_lung_is_strange_to_the_encoder_of_the_chest_alone(tmp_path: Path) -> None:
    instances = [save(ct_slice(z, 40, size=64), tmp_path) for z in range(3)]
    read = read_study(instances, {name: encoder("ct", slices=4) for name in ("ct", "head_ct")})
    chest, other = read.views
    assert (chest.modality, other.modality) == ("ct", "head_ct")
    assert chest.strange is not None
    assert "no-lung: of the 3 slice(s) read" in chest.strange
    assert other.strange is None


def test_lung_on_one_slice_is_enough(tmp_path: Path) -> None:
    above, chest, below = (ct_slice(z, 40, size=64) for z in range(3))
    stored = np.full((64, 64), (40 + 1024) // 2, dtype=np.uint16)
    stored[20:44, 12:28] = stored[20:44, 36:52] = (-850 + 1024) // 2
    chest.PixelData = stored.tobytes()
    read = run(tmp_path, 4, above, chest, below)
    assert len(read.views[0].samples) == 3, "all are read, lung or not"
    assert read.views[0].strange is None
