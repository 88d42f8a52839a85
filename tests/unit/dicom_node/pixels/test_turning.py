"""A slice looks the same to an encoder however it is stored; evidence is drawn where it lies in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.evidence import find_evidence
from dicom_node.pixels.select import read_study
from dicom_node.pixels.turning import Turn, turn_for
from dicom_node.records import ViewVectors
from tests.support.pixel_objects import ct_slice, encoder, put_pixels, save

WAYS = {
    (1, 0, 0, 0, 1, 0): (),  # supine
    (-1, 0, 0, 0, -1, 0): ("rows", "columns"),  # prone
    (-1, 0, 0, 0, 1, 0): ("columns",),  # feet first, as some scanners store it
    (1, 0, 0, 0, -1, 0): ("rows",),  # from below upwards, as some reformats are
    (0, 1, 0, 1, 0, 0): ("swap",),
    (0, -1, 0, 1, 0, 0): ("rows", "swap"),
    (0, 1, 0, -1, 0, 0): ("columns", "swap"),
    (0, -1, 0, -1, 0, 0): ("rows", "columns", "swap"),
}
"""What was done to the usual picture before it was stored, by Image Orientation (Patient)."""


def picture() -> np.ndarray:
    """24 rows, 32 columns, no symmetry, a mark of 6 x 8 at row 12, column 0."""
    pixels = np.arange(24 * 32, dtype=np.uint16).reshape(24, 32)
    pixels[12:18, 0:8] = 3000
    return pixels


def stored(done: tuple[str, ...]) -> np.ndarray:
    pixels = picture()
    if "rows" in done:
        pixels = pixels[::-1]
    if "columns" in done:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels.T if "swap" in done else pixels)


@pytest.mark.parametrize(("axes", "done"), WAYS.items())
@pytest.mark.parametrize("mode", ["stretch", "pad"])
def test_round_trip(tmp_path: Path, axes: tuple[int, ...], done: tuple[str, ...], mode: str) -> None:
    ds = put_pixels(ct_slice(0, 0), stored(done), "MONOCHROME2", 12)
    ds.ImageOrientationPatient = list(axes)
    ds.RescaleSlope, ds.RescaleIntercept = 1, 0
    plain = encoder("ct", slices=1)
    (view,) = read_study([save(ds, tmp_path)], {"ct": plain}).views
    np.testing.assert_array_equal(view.samples[0].values, picture())
    assert any("stored turned" in note for note in view.notes) is bool(done)

    size = [48, 64] if mode == "stretch" else [64, 64]
    resized = encoder("ct", {"op": "resize", "size": size, "mode": mode}, slices=1)
    (view,) = read_study([save(ds, tmp_path)], {"ct": resized}).views
    (sample,) = view.samples
    # An encoder that answers to the mark alone: a map of one vector for each 8 x 8 of what it sees.
    cells = sample.values.reshape(size[0] // 8, 8, size[1] // 8, 8).mean(axis=(1, 3))
    evidence = np.stack([(cells > 1500).astype(np.float32), np.zeros_like(cells)], axis=-1)[None]
    direction = np.array([1, 0], dtype=np.float32)
    vectors = ViewVectors(direction[None], evidence.astype(np.float32))
    (drawn,) = find_evidence(view, vectors, direction, Pooling(), 0.0)
    assert drawn.outline is not None
    corners = np.array(drawn.outline)
    rows, columns = np.nonzero(stored(done) == 3000)
    found = (corners[:, 0].min(), corners[:, 0].max(), corners[:, 1].min(), corners[:, 1].max())
    where = (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1)
    np.testing.assert_allclose(found, where, atol=4)  # a cell of the map is 4 pixels of the source
    covered = np.zeros(stored(done).shape, dtype=bool)
    covered[round(found[2]) : round(found[3]), round(found[0]) : round(found[1])] = True
    assert covered[stored(done) == 3000].mean() > 0.6, "the mark, and not its mirror image"
    assert covered.sum() < 3 * (stored(done) == 3000).sum()


def test_a_tilt_turns_nothing() -> None:
    assert turn_for([1, 0, 0, 0, 0.94, -0.34]) == Turn()
    assert not Turn()
    assert turn_for([99, 5, 0, -5, 99, 0]) == Turn()
