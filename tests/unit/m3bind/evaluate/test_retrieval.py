"""Retrieval figures on vectors whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from m3bind.data.captions import caption_pool
from m3bind.data.catalogue import findings_of
from m3bind.evaluate.retrieval import cross_modal, group_of, image_to_text

pytestmark = pytest.mark.train


def labelled(modality, **present):
    labels = {f.id: 0 for f in findings_of(modality)}
    labels |= {f"{modality}.{name}": value for name, value in present.items()}
    return SimpleNamespace(modality=modality, labels=labels)


def test_groups_by_labels():
    assert group_of("ct", labelled("ct").labels) == "normal"
    assert group_of("ct", labelled("ct", malignant_tumour=1).labels) == "malignant tumour"
    assert group_of("ct", labelled("ct", benign_nodule=1).labels) is None
    assert group_of("pathology", labelled("pathology", colon=1).labels) == "normal"
    assert group_of("ct", {"ct.malignant_tumour": None}) is None


def test_cross_modal_retrieval_is_perfect_when_bound_and_chance_when_not():
    random = np.random.default_rng(0)
    sick = np.tile([0, 1], 40)
    found = {
        "ct": [labelled("ct", malignant_tumour=int(s)) for s in sick],
        "pathology": [labelled("pathology", adenocarcinoma=int(s)) for s in sick],
    }
    bound = np.eye(8)[0] * (2.0 * sick[:, None] - 1) + random.normal(size=(80, 8)) * 0.05
    told = cross_modal({"ct": bound, "pathology": bound + 3.0}, found)
    assert told["mean"] > 0.99
    assert "ct to pathology: malignant tumour" in told["pairs"]
    unbound = cross_modal({"ct": bound, "pathology": random.normal(size=(80, 8))}, found)
    assert 0.35 < unbound["mean"] < 0.65


def test_image_to_text_finds_true_captions():
    captions = caption_pool("ct")
    found = [labelled("ct", malignant_tumour=1), labelled("ct")]
    states = np.array([[c.states.get(f.id, -1) for f in findings_of("ct")] for c in captions])
    labels = np.array([[1, 0], [0, 0]])
    agrees = np.array(
        [[all(s in (-1, v) for s, v in zip(c, row, strict=True)) for c in states] for row in labels]
    )
    texts = np.eye(len(captions))
    told = image_to_text(agrees.astype(float), texts, found, captions)
    assert told["precision@5"] == 1.0
    assert 0 < told["chance"] < 1
