import numpy as np
import pytest

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Pooling
from dicom_node.findings.prompts import make_anchors, prompt_texts
from dicom_node.findings.score import mean_embedding, pool_margins, pooled_samples, sample_margins


def entry(identifier: str, affirmed: list[str], negated: list[str]) -> FindingEntry:
    return FindingEntry.model_validate(
        {
            "id": identifier,
            "modality": identifier.split(".")[0],
            "name": "Name",
            "code": {"value": "1", "scheme": "SCT", "meaning": "Name"},
            "prompts": {"affirmed": affirmed, "negated": negated},
            "calibration": {"slope": 1.0, "intercept": 0.0},
            "threshold": 0.5,
        }
    )


ENTRIES = [entry("xray.a", ["a", "b"], ["no"]), entry("xray.b", ["b"], ["no", "normal"])]


def test_every_prompt_once_in_order_of_first_use() -> None:
    assert prompt_texts(ENTRIES) == ("a", "b", "no", "normal")


def test_an_anchor_is_the_normalised_mean_of_its_prompts() -> None:
    embeddings = np.eye(4, dtype=np.float32)
    anchors = make_anchors(ENTRIES, prompt_texts(ENTRIES), embeddings)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(anchors.affirmed, [[half, half, 0, 0], [0, 1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(anchors.negated, [[0, 0, 1, 0], [0, 0, half, half]], atol=1e-6)
    only = anchors.only(["xray.b"])
    assert only.ids == ("xray.b",)
    np.testing.assert_allclose(only.directions, anchors.directions[1:])


def test_no_finding_makes_no_anchor() -> None:
    assert make_anchors([], (), np.zeros((0, 4), np.float32)).affirmed.shape == (0, 4)


def test_a_margin_is_the_difference_of_two_cosines() -> None:
    anchors = make_anchors(ENTRIES, prompt_texts(ENTRIES), np.eye(4, dtype=np.float32))
    sample = np.array([[0.6, 0.0, 0.8, 0.0]], dtype=np.float32)
    expected = [0.6 * np.sqrt(0.5) - 0.8, -0.8 * np.sqrt(0.5)]
    np.testing.assert_allclose(sample_margins(sample, anchors), [expected], atol=1e-6)


MARGINS = np.array([[1.0, 0.0], [3.0, -1.0], [2.0, 5.0], [0.0, 0.0]], dtype=np.float32)


def test_mean_pooling_takes_all() -> None:
    np.testing.assert_allclose(pool_margins(MARGINS, Pooling()), [1.5, 1.0])
    assert pooled_samples(MARGINS[:, 0], Pooling()).tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, [2.5, 2.5]), (0.01, [3.0, 5.0]), (1.0, [1.5, 1.0])])
def test_top_pooling_takes_the_highest_of_each_finding(fraction: float, expected: list[float]) -> None:
    np.testing.assert_allclose(pool_margins(MARGINS, Pooling(method="top", fraction=fraction)), expected)


def test_a_views_embedding_is_the_direction_of_its_samples() -> None:
    embedding = mean_embedding(np.array([[1, 0], [0, 1]], dtype=np.float32))
    np.testing.assert_allclose(embedding, [np.sqrt(0.5)] * 2, atol=1e-6)
