import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.evidence import contributions, find_evidence, strongest_region
from dicom_node.records import Box, Sample, SourceRef, View, ViewVectors

D = 4
DIRECTION = np.array([1, 0, 0, 0], dtype=np.float32)
SOURCE = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 8))
def test_contributions_add_up_to_the_margin(seed: int, h: int, w: int) -> None:
    rng = np.random.default_rng(seed)
    evidence = rng.standard_normal((h, w, 16)).astype(np.float32)
    direction = rng.standard_normal(16).astype(np.float32)
    mean = evidence.astype(np.float64).mean(axis=(0, 1))
    margin = mean / np.linalg.norm(mean) @ direction
    assert contributions(evidence, direction).sum() == pytest.approx(margin, rel=1e-5, abs=1e-6)


def test_the_region_is_connected_and_holds_the_peak() -> None:
    parts = np.array([[9.0, 5.0, 0.0, 8.0], [1.0, 4.6, 0.0, 8.0], [0.0, 0.0, 0.0, -3.0]])
    region = strongest_region(parts, np.ones((3, 4), dtype=bool))
    assert region is not None
    np.testing.assert_array_equal(np.argwhere(region.mask), [[0, 0], [0, 1], [1, 1]])
    assert region.share == pytest.approx((9 + 5 + 4.6) / (9 + 5 + 8 + 1 + 4.6 + 8))


def test_a_hole_belongs_to_the_region() -> None:
    parts = np.ones((3, 3))
    parts[1, 1] = -1
    region = strongest_region(parts, np.ones((3, 3), dtype=bool))
    assert region is not None
    assert region.mask.all()
    assert region.share == 1.0


def test_without_positive_contribution_there_is_no_region() -> None:
    assert strongest_region(np.full((2, 2), -1.0), np.ones((2, 2), dtype=bool)) is None


def one_image(
    peak: tuple[int, int], box: Box | None, size: tuple[int, int] | None
) -> tuple[View, ViewVectors]:
    evidence = np.full((1, 4, 4, D), 0.1, dtype=np.float32)
    evidence[0, peak[0], peak[1], 0] = 5.0
    mean = evidence.mean(axis=(1, 2))
    view = View("xray", "1.2", (Sample(np.zeros((3, 8, 8), np.float32), SOURCE, box),), (SOURCE,), size)
    return view, ViewVectors(mean / np.linalg.norm(mean, axis=1, keepdims=True), evidence)


def test_the_outline_is_told_in_source_pixels() -> None:
    view, vectors = one_image((1, 2), Box(0, 0, 400, 800), (800, 400))
    (found,) = find_evidence(view, vectors, DIRECTION, Pooling(), demanded=0.0)
    assert found.source == SOURCE
    assert found.outline == ((200, 200), (300, 200), (300, 400), (200, 400))
    assert found.span is None
    assert 0.7 < found.share < 1


def test_padding_is_never_drawn() -> None:
    # 400 columns padded by 200 on either side: cells 0 and 3 of each row lie on padding.
    box = Box(-200, 0, 600, 800)
    view, vectors = one_image((0, 0), box, (800, 400))
    (found,) = find_evidence(view, vectors, DIRECTION, Pooling(), demanded=0.0)
    assert found.outline is not None
    assert all(0 <= x <= 400 and 0 <= y <= 800 for x, y in found.outline)
    assert found.share < 0.5


def test_an_outline_that_reaches_over_the_edge_is_clipped() -> None:
    view, vectors = one_image((0, 0), Box(-40, -30, 360, 370), (370, 360))
    (found,) = find_evidence(view, vectors, DIRECTION, Pooling(), demanded=0.0)
    assert found.outline == ((0, 0), (60, 0), (60, 70), (0, 70))


def test_the_constant_part_of_a_margin_is_no_evidence() -> None:
    view, vectors = one_image((1, 2), Box(0, 0, 4, 4), (4, 4))
    margin = float(vectors.embeddings[0] @ DIRECTION)
    for demanded in (-math.inf, 0.0, margin * 0.9):
        (found,) = find_evidence(view, vectors, DIRECTION, Pooling(), demanded)
        assert found.outline == ((2, 1), (3, 1), (3, 2), (2, 2))


@pytest.mark.parametrize(("box", "size"), [(None, (4, 4)), (Box(0, 0, 4, 4), None)])
def test_without_a_place_nothing_is_drawn(box: Box | None, size: tuple[int, int] | None) -> None:
    view, vectors = one_image((1, 2), box, size)
    assert find_evidence(view, vectors, DIRECTION, Pooling(), 0.0) == ()


def test_without_a_map_nothing_is_drawn() -> None:
    view, vectors = one_image((1, 2), Box(0, 0, 4, 4), (4, 4))
    assert find_evidence(view, ViewVectors(vectors.embeddings, None), DIRECTION, Pooling(), 0.0) == ()


def test_a_waveform_gets_a_span() -> None:
    evidence = np.full((1, 1, 20, D), 0.05, dtype=np.float32)
    evidence[0, 0, 4:6, 0] = 3.0
    mean = evidence.mean(axis=(1, 2))
    embeddings = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    sample = Sample(np.zeros((12, 100), np.float32), SOURCE, span=(2.0, 12.0))
    view = View("ecg", "1.2", (sample,), (SOURCE,))
    (found,) = find_evidence(view, ViewVectors(embeddings, evidence), DIRECTION, Pooling(), 0.0)
    assert found.span == pytest.approx((4.0, 5.0))
    assert found.outline is None


def short_waveform(strong: slice, duration: float | None) -> tuple[float, float] | None:
    """The span found in 10 s of which only `duration` was recorded; 20 cells of half a second."""
    evidence = np.full((1, 1, 20, D), 0.05, dtype=np.float32)
    evidence[0, 0, strong, 0] = 3.0
    evidence[0, 0, 2, 0] = 1.0
    mean = evidence.mean(axis=(1, 2))
    embeddings = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    sample = Sample(np.zeros((12, 100), np.float32), SOURCE, span=(0.0, 10.0))
    view = View("ecg", "1.2", (sample,), (SOURCE,), duration=duration)
    (found,) = find_evidence(view, ViewVectors(embeddings, evidence), DIRECTION, Pooling(), 0.0)
    return found.span


def test_evidence_ends_where_the_recording_does() -> None:
    assert short_waveform(slice(10, 16), None) == pytest.approx((5.0, 8.0))
    assert short_waveform(slice(10, 16), 7.3) == pytest.approx((5.0, 7.3))
    # Of the last cell, 7.0 to 7.5, less than half was recorded.
    assert short_waveform(slice(10, 16), 7.2) == pytest.approx((5.0, 7.0))


def test_padding_of_a_waveform_is_no_evidence() -> None:
    assert short_waveform(slice(15, 20), 7.0) == pytest.approx((1.0, 1.5))


def test_of_a_series_the_strongest_slices_are_shown() -> None:
    strengths = [0.1, 3.0, -2.0, 2.0, 1.0]
    sources = [SourceRef("1.2.840.10008.5.1.4.1.1.2", f"1.2.{n}") for n in range(5)]
    evidence = np.full((5, 2, 2, D), 0.3, dtype=np.float32)
    evidence[:, 0, 0, 0] = strengths
    mean = evidence.mean(axis=(1, 2))
    embeddings = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    samples = tuple(Sample(np.zeros((3, 2, 2), np.float32), s, Box(0, 0, 10, 10)) for s in sources)
    view = View("ct", "1.2", samples, tuple(sources), (10, 10))
    pooling = Pooling(method="top", fraction=0.4)
    found = find_evidence(view, ViewVectors(embeddings, evidence), DIRECTION, pooling, 0.0)
    assert [f.source.sop_instance_uid for f in found] == ["1.2.1", "1.2.3"]


def test_the_object_that_the_box_is_told_in_is_named() -> None:
    other = SourceRef("1.2.840.10008.5.1.4.1.1.77.1.6", "9.9")
    view, vectors = one_image((1, 2), None, (4, 4))
    sample = Sample(view.samples[0].values, SOURCE, Box(0, 0, 4, 4), evidence_source=other)
    slide = View("pathology", "1.2", (sample,), (SOURCE,), (4, 4))
    (found,) = find_evidence(slide, vectors, DIRECTION, Pooling(), 0.0)
    assert found.source == other
