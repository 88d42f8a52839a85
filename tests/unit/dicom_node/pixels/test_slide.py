from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from dicom_node.pixels import decode
from dicom_node.pixels.ground import Loaded, load_header
from dicom_node.pixels.headers import read_instance, walk
from dicom_node.pixels.levels import Region, describe, read_regions
from dicom_node.pixels.select import read_study
from dicom_node.pixels.tissue import find_tissue, is_tissue
from dicom_node.records import Box, StudyRead
from tests.support.pixel_objects import encoder, save, slide
from tests.support.samples import OTHER_TISSUE


def matrix(height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    """White glass with two coloured rectangles."""
    pixels = np.full((height, width, 3), 255, dtype=np.uint8)
    rng = np.random.default_rng(4)
    for rows, columns in ((slice(20, 120), slice(30, 130)), (slice(100, 180), slice(180, 280))):
        noise = rng.integers(0, 40, pixels[rows, columns].shape)
        pixels[rows, columns] = noise + np.array((180, 90, 150))
    return pixels


def run(folder: Path, *objects: Dataset, microns: float = 0.5, tile: int = 20, tiles: int = 400) -> StudyRead:
    settings = encoder("slide", microns_per_pixel=microns, tile=tile, tiles=tiles)
    return read_study([save(ds, folder) for ds in objects], {"pathology": settings})


def whole(path: Path) -> NDArray[np.uint8]:
    """The total pixel matrix of a TILED_FULL file, put together the plain way."""
    ds = dcmread(path)
    frames = pixel_array(path)
    rows, columns = -(-ds.TotalPixelMatrixRows // ds.Rows), -(-ds.TotalPixelMatrixColumns // ds.Columns)
    full = frames.reshape(rows, columns, ds.Rows, ds.Columns, 3).swapaxes(1, 2)
    full = full.reshape(rows * ds.Rows, columns * ds.Columns, 3)
    return np.asarray(full[: ds.TotalPixelMatrixRows, : ds.TotalPixelMatrixColumns])


def test_the_sample_study_is_read_where_its_boxes_say() -> None:
    instances, _ = walk([OTHER_TISSUE])
    settings = encoder("slide", microns_per_pixel=0.499, tile=256, tiles=12)
    (view,) = read_study(instances, {"pathology": settings}).views
    full = whole(OTHER_TISSUE / "level-0.dcm")
    assert view.source_size == full.shape[:2] == (2967, 2220)
    assert len(view.samples) == 12
    for one in view.samples:
        assert one.box is not None
        part = full[int(one.box.top) : int(one.box.bottom), int(one.box.left) : int(one.box.right)]
        np.testing.assert_allclose(one.values, part / 255, atol=1.1 / 255)  # decoders round differently
        assert is_tissue(part).mean() > 0.2
        assert one.source.frame is None
    assert [
        Path(i.path).name for i in instances if i.sop_instance_uid == view.sources[0].sop_instance_uid
    ] == ["level-0.dcm"]


def test_the_same_study_gives_the_same_tiles() -> None:
    instances, _ = walk([OTHER_TISSUE])
    settings = {"pathology": encoder("slide", microns_per_pixel=1.0, tile=96, tiles=5)}
    (one,), (other,) = read_study(instances, settings).views, read_study(instances[::-1], settings).views
    assert [s.box for s in one.samples] == [s.box for s in other.samples]
    assert all(np.array_equal(a.values, b.values) for a, b in zip(one.samples, other.samples, strict=True))


def test_tiles_are_pixels_of_the_matrix(tmp_path: Path) -> None:
    pixels = matrix()
    (view,) = run(tmp_path, slide(pixels, 32, 0.5)).views
    seen = np.zeros(pixels.shape[:2], dtype=bool)
    for one in view.samples:
        assert one.box is not None
        rows, columns = (
            slice(int(one.box.top), int(one.box.bottom)),
            slice(int(one.box.left), int(one.box.right)),
        )
        np.testing.assert_allclose(one.values, pixels[rows, columns] / 255, atol=1e-6)
        seen[rows, columns] = True
    tissue = is_tissue(pixels)
    assert (seen & tissue).sum() > 0.75 * tissue.sum()
    assert (seen & ~tissue).sum() < 0.25 * seen.sum()


def test_a_sparse_slide_equals_the_full_one(tmp_path: Path) -> None:
    (full,) = run(tmp_path, slide(matrix(), 32, 0.5)).views
    (sparse,) = run(tmp_path, slide(matrix(), 32, 0.5, sparse=True)).views
    assert [s.box for s in full.samples] == [s.box for s in sparse.samples]
    for a, b in zip(full.samples, sparse.samples, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def moved(ds: Dataset, frame: int, row: int, column: int) -> None:
    """Put a frame elsewhere, 0-based."""
    position = ds.PerFrameFunctionalGroupsSequence[frame].PlanePositionSlideSequence[0]
    position.RowPositionInTotalImagePixelMatrix = row + 1
    position.ColumnPositionInTotalImagePixelMatrix = column + 1


def test_tiles_that_overlap_lie_in_the_order_of_their_frames(tmp_path: Path) -> None:
    ds = slide(matrix(64, 64), 32, 0.5, sparse=True)
    colours = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]
    ds.NumberOfFrames, ds.PerFrameFunctionalGroupsSequence = 3, ds.PerFrameFunctionalGroupsSequence[:3]
    ds.PixelData = np.stack([np.full((32, 32, 3), colour, dtype=np.uint8) for colour in colours]).tobytes()
    for frame, place in enumerate([(0, 0), (10, 13), (40, 5)]):
        moved(ds, frame, *place)
    wanted = np.full((64, 64, 3), 255, dtype=np.uint8)
    for (row, column), colour in zip([(0, 0), (10, 13), (40, 5)], colours, strict=True):
        wanted[row : row + 32, column : column + 32] = colour
    level = describe(load_header(save(ds, tmp_path)))
    ((_, seen),) = read_regions(level, [Region(0, 0, 64)])
    np.testing.assert_array_equal(seen, wanted)
    tissue = find_tissue([level])
    assert tissue.parts[0, 0] == 1
    assert tissue.parts[3, 3] == pytest.approx(0.0)


@pytest.mark.parametrize("sparse", [False, True])
def test_of_focal_planes_the_middle_one_is_read(tmp_path: Path, sparse: bool) -> None:
    pixels = matrix()
    ds = slide(pixels, 32, 0.5, sparse=sparse)
    frames = np.frombuffer(ds.PixelData, dtype=np.uint8).reshape(ds.NumberOfFrames, 32, 32, 3)
    ds.PixelData = np.concatenate([255 - frames, frames, 255 - frames]).tobytes()
    ds.NumberOfFrames, ds.TotalPixelMatrixFocalPlanes = 3 * len(frames), 3
    if sparse:
        ds.PerFrameFunctionalGroupsSequence = [*ds.PerFrameFunctionalGroupsSequence] * 3
    (view,) = run(tmp_path, ds).views
    for one in view.samples:
        assert one.box is not None
        part = pixels[int(one.box.top) : int(one.box.bottom), int(one.box.left) : int(one.box.right)]
        np.testing.assert_allclose(one.values, part / 255, atol=1e-6)
    assert any("Of 3 focal planes" in note for note in view.notes)


def test_of_optical_paths_the_one_in_bright_field_is_read(tmp_path: Path) -> None:
    pixels = matrix()
    ds = slide(pixels, 32, 0.5)
    frames = np.frombuffer(ds.PixelData, dtype=np.uint8).reshape(ds.NumberOfFrames, 32, 32, 3)
    ds.PixelData = np.concatenate([255 - frames, frames]).tobytes()
    ds.NumberOfFrames, ds.NumberOfOpticalPaths = 2 * len(frames), 2
    ds.OpticalPathSequence = []
    for value in ("111743", "111744"):
        code, path = Dataset(), Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", "x"
        path.IlluminationTypeCodeSequence = [code]
        ds.OpticalPathSequence.append(path)
    level = describe(load_header(save(ds, tmp_path)))
    ((_, seen),) = read_regions(level, [Region(0, 0, 200)])
    np.testing.assert_array_equal(seen, pixels[:200, :200])


def test_another_resolution_takes_larger_boxes(tmp_path: Path) -> None:
    (view,) = run(tmp_path, slide(matrix(), 32, 0.5), microns=1.0, tile=20).views
    box = view.samples[0].box
    assert box is not None
    assert (box.right - box.left, box.bottom - box.top) == (40, 40)
    assert view.samples[0].values.shape == (20, 20, 3)


@pytest.mark.parametrize(("wanted", "chosen"), [(0.25, 0), (0.5, 1), (0.48, 1), (0.3, 0), (0.9, 1), (2.2, 2)])
def test_the_coarsest_level_that_holds_the_detail(tmp_path: Path, wanted: float, chosen: int) -> None:
    levels = [
        slide(matrix(400, 600), 64, 0.25),
        slide(matrix(200, 300), 32, 0.5),
        slide(matrix(50, 75), 32, 2.0),
    ]
    levels[2].PixelData = slide(matrix()[::4, ::4].copy(), 32, 2.0).PixelData
    read = run(tmp_path, *levels, microns=wanted, tile=8, tiles=4)
    (view,) = read.views
    assert view.sources[0].sop_instance_uid == levels[chosen].SOPInstanceUID
    unused = {ds.SOPInstanceUID for ds in levels} - {s.sop_instance_uid for s in view.sources}
    assert {s.sop_instance_uid for s in read.skipped} == unused
    assert {s.reason for s in read.skipped} <= {"other-level"}


def test_fewer_tiles_are_spread_over_all_tissue(tmp_path: Path) -> None:
    (view,) = run(tmp_path, slide(matrix(), 32, 0.5), tiles=6).views
    lefts = [s.box.left for s in view.samples if s.box is not None]
    assert len(lefts) == 6
    assert min(lefts) < 130
    assert max(lefts) > 170
    assert view.notes[0].startswith("6 of ")


def test_a_slide_smaller_than_a_tile_is_filled_with_white(tmp_path: Path) -> None:
    small = np.full((10, 12, 3), (180, 90, 150), dtype=np.uint8)
    (view,) = run(tmp_path, slide(small, 16, 0.5)).views
    (one,) = view.samples
    assert one.box == Box(-4, -5, 16, 15)
    np.testing.assert_allclose(one.values[5:15, 4:16], small / 255, atol=1e-6)
    np.testing.assert_array_equal(one.values[:5], 1)
    np.testing.assert_array_equal(one.values[15:], 1)


def test_only_the_frames_under_the_tiles_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = describe(load_header(save(slide(matrix(), 32, 0.5), tmp_path)))
    asked: list[int] = []
    real = decode.native_frames

    def spy(loaded: Loaded, indices: Sequence[int]) -> object:
        asked.extend(indices)
        return real(loaded, indices)

    monkeypatch.setattr(decode, "native_frames", spy)
    list(read_regions(level, [Region(30, 30, 40), Region(33, 33, 10)]))
    assert asked == [0, 1, 2, 10, 11, 12, 20, 21, 22], "each frame once"


def test_a_large_slide_is_probed_frame_by_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = describe(load_header(save(slide(matrix(), 32, 0.5), tmp_path)))
    monkeypatch.setattr("dicom_node.pixels.tissue.MAX_OVERVIEW", 1000)
    probed = find_tissue([level])
    assert probed.parts.shape == level.grid
    tissue = is_tissue(matrix())
    assert probed.parts[2, 2] == tissue[64:96, 64:96].mean() == 1
    assert probed.parts[0, 9] == 0


def test_labels_are_never_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = slide(matrix(), 32, 0.5, flavour="LABEL")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a label was decoded")

    monkeypatch.setattr(decode, "native_frames", forbidden)
    read = run(tmp_path, label, slide(matrix(), 32, 0.5, flavour="OVERVIEW"))
    assert [s.reason for s in read.skipped] == ["label-or-overview"] * 2


def test_a_thumbnail_shows_where_but_is_not_read(tmp_path: Path) -> None:
    thumbnail = slide(matrix()[::4, ::4].copy(), 75, 2.0, flavour="THUMBNAIL")
    level = slide(matrix(), 32, 0.5)
    (view,) = run(tmp_path, thumbnail, level, microns=2.0, tile=8).views
    assert [s.sop_instance_uid for s in view.sources] == [level.SOPInstanceUID, thumbnail.SOPInstanceUID]
    read = run(tmp_path, thumbnail)
    assert [s.reason for s in read.skipped] == ["no-volume-level"]


def test_what_is_refused(tmp_path: Path) -> None:
    def reason(ds: Dataset, microns: float = 0.5) -> str:
        read = run(tmp_path, ds, microns=microns)
        assert read.views == ()
        return read.skipped[0].reason

    assert reason(slide(np.full((64, 64, 3), 240, dtype=np.uint8), 32, 0.5)) == "no-tissue"
    assert reason(slide(matrix(), 32, 0.5), microns=0.1) == "resolution"
    assert reason(slide(matrix(), 32, 0.5), microns=50) == "resolution"
    few = slide(matrix(), 32, 0.5)
    few.NumberOfFrames = 5
    assert reason(few) == "missing-tiles"
    unplaced = slide(matrix(), 32, 0.5, sparse=True)
    del unplaced.PerFrameFunctionalGroupsSequence
    assert reason(unplaced) == "missing-positions"
    unmeasured = slide(matrix(), 32, 0.5)
    del unmeasured.SharedFunctionalGroupsSequence
    assert reason(unmeasured) == "missing-spacing"
    grey = slide(matrix(), 32, 0.5)
    grey.PhotometricInterpretation = "MONOCHROME2"
    assert reason(grey) == "not-colour"
    absurd = slide(matrix(), 32, 0.5)
    absurd.TotalPixelMatrixRows = 4_000_000_000
    assert reason(absurd) == "absurd-size"
    cut = slide(matrix(), 32, 0.5)
    cut.PixelData = cut.PixelData[:1000]
    assert reason(cut) == "broken-pixels"


def test_the_map_and_the_level_agree_on_place() -> None:
    level = describe(load_header(read_instance(OTHER_TISSUE / "level-1.dcm")))
    tissue = find_tissue([level])
    mask = is_tissue(whole(OTHER_TISSUE / "level-1.dcm"))
    for row in range(0, tissue.parts.shape[0], 7):
        for column in range(0, tissue.parts.shape[1], 5):
            top, left = (
                round(row * tissue.cell[0] * level.rows),
                round(column * tissue.cell[1] * level.columns),
            )
            assert tissue.parts[row, column] == pytest.approx(
                mask[top : top + 16, left : left + 16].mean(), abs=0.02
            )
