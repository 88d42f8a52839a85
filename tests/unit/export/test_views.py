import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.manifest import Encoder, Pooling
from export.views import CURVE_VIEWS, SIMULATED, affected_views, labelled_views, view_size

pytestmark = pytest.mark.train

LABELS = np.array([1, 1, 0, 0, 0, -1, 0, 1], dtype=np.int8)
GROUPS = ["a", "a", "b", "b", "c", "c", "c", "d"]


def encoder(reader: str, pooling: Pooling) -> Encoder:
    sampling = {"ct": {"slices": 8}, "slide": {"tiles": 8}}.get(reader, {})
    return Encoder.model_validate(
        {
            "file": "x",
            "reader": reader,
            "sampling": sampling,
            "preprocess": [],
            "input_shape": [1, 1, 1],
            "evidence": False,
            "pooling": pooling.model_dump(),
        }
    )


TOP = Pooling(method="top", fraction=0.25)


@pytest.mark.parametrize(("reader", "pooling"), [("radiograph", TOP), ("ecg", Pooling()), ("ct", Pooling())])
def test_single_examples_stay_single(reader: str, pooling: Pooling) -> None:
    views = labelled_views(encoder(reader, pooling), LABELS, GROUPS)
    assert [(v.rows.tolist(), v.present) for v in views] == [
        ([0], True),
        ([1], True),
        ([2], False),
        ([3], False),
        ([4], False),
        ([6], False),
        ([7], True),
    ]


@pytest.mark.parametrize("reader", ["ct", "slide"])
def test_views_are_put_together_from_one_group_of_each_kind(reader: str) -> None:
    views = labelled_views(encoder(reader, TOP), LABELS, GROUPS)
    assert len(views) == SIMULATED
    assert sum(v.present for v in views) == round(SIMULATED * 3 / 7)
    for view in views:
        labels = LABELS[view.rows]
        assert len(view.rows) == 8
        assert (labels == 1).sum() == (2 if view.present else 0)
        assert (labels == -1).sum() == 0
        for kind in (0, 1):
            assert len({GROUPS[i] for i in view.rows[labels == kind]}) <= 1
        shown = {GROUPS[i] for i in view.rows[labels == int(view.present)]}
        assert shown == {view.group}


@pytest.mark.parametrize("affected", [0, 1, 2])
def test_a_point_of_a_curve_has_as_many_affected_samples(affected: int) -> None:
    views = affected_views(encoder("ct", TOP), LABELS, GROUPS, affected)
    assert len(views) == CURVE_VIEWS
    assert {int((LABELS[view.rows] == 1).sum()) for view in views} == {affected}
    assert {view.present for view in views} == {affected > 0}
    assert affected_views(encoder("ct", TOP), np.zeros(8, np.int8), GROUPS, affected) == ()


def test_pooling_looks_at_a_quarter_of_eight() -> None:
    assert view_size(encoder("slide", TOP)) == (8, 2)


def test_the_same_views_every_time() -> None:
    first, second = (labelled_views(encoder("ct", TOP), LABELS, GROUPS) for _ in range(2))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, second, strict=True))


def test_without_both_kinds_there_is_no_view() -> None:
    assert labelled_views(encoder("ct", TOP), np.zeros(8, np.int8), GROUPS) == ()
