"""The vector of a region: what a question about a place is compared with."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.evidence import find_evidence, region_embedding
from dicom_node.records import Box, Sample, SourceRef, View, ViewVectors

SOURCE = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
DIRECTION = np.array([1, 0, 0, 0], dtype=np.float32)


def test_it_is_the_mean_of_the_map_inside_with_unit_norm() -> None:
    local = np.random.default_rng(1).normal(size=(3, 5, 4)).astype(np.float32)
    mask = np.zeros((3, 5), dtype=bool)
    mask[1, 2:4] = True
    mean = (local[1, 2] + local[1, 3]) / 2
    assert region_embedding(local, mask) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_an_image_region_carries_it() -> None:
    local = np.tile(np.array([0, 0, 0, 1], dtype=np.float32), (4, 4, 1))
    local[1, 2] = [3, 4, 0, 0]
    view = View(
        "xray",
        "1.2",
        (Sample(np.zeros((1, 4, 4), dtype=np.float32), SOURCE, box=Box(0, 0, 40, 40)),),
        (SOURCE,),
        source_size=(40, 40),
    )
    vectors = ViewVectors(DIRECTION[None], local[None])
    (found,) = find_evidence(view, vectors, DIRECTION, Pooling(), 0.0)
    assert found.embedding == pytest.approx([0.6, 0.8, 0, 0], abs=1e-6)


def test_a_span_carries_it() -> None:
    local = np.zeros((1, 10, 4), dtype=np.float32)
    local[0, 4] = [0.8, 0, 0.6, 0]
    view = View(
        "ecg",
        "1.2",
        (Sample(np.zeros((12, 100), dtype=np.float32), SOURCE, span=(0.0, 10.0)),),
        (SOURCE,),
    )
    (found,) = find_evidence(view, ViewVectors(DIRECTION[None], local[None]), DIRECTION, Pooling(), 0.0)
    assert found.span == (4.0, 5.0)
    assert found.embedding == pytest.approx([0.8, 0, 0.6, 0], abs=1e-6)
