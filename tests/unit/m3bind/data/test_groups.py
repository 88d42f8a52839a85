"""Who shares what with whom."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.data.captions import caption_pool, relation, shared_captions, stated
from m3bind.data.catalogue import findings_of, illnesses_of
from m3bind.data.groups import Group, is_in, is_normal, load_groups, parse_groups, shared_labels

pytestmark = pytest.mark.train

KNOWN = ["ct.tumour", "pathology.tumour", "ct.other"]


def labelled(modality, **present):
    return {f.id: 0 for f in findings_of(modality)} | {f"{modality}.{k}": v for k, v in present.items()}


def test_the_groups_that_ship_name_findings_that_exist():
    assert "malignancy" in {g.id for g in load_groups()}


def test_a_group_needs_known_findings_of_two_modalities():
    group = {"id": "g", "name": "g", "finding": ["ct.tumour", "pathology.tumour"]}
    assert parse_groups({"group": [group]}, KNOWN)[0].findings == {"ct.tumour", "pathology.tumour"}
    with pytest.raises(ConfigError, match=r"ct\.nothing"):
        parse_groups({"group": [{**group, "finding": ["ct.nothing", "pathology.tumour"]}]}, KNOWN)
    with pytest.raises(ConfigError, match="one modality only"):
        parse_groups({"group": [{**group, "finding": ["ct.tumour", "ct.other"]}]}, KNOWN)


def test_normal_is_every_illness_absent_or_a_general_one():
    assert is_normal(illnesses_of("ct"), labelled("ct")) is True
    assert is_normal(illnesses_of("ct"), labelled("ct", malignant_tumour=1)) is False
    assert is_normal(illnesses_of("ct"), labelled("ct", malignant_tumour=None)) is None
    assert is_normal(illnesses_of("pathology"), labelled("pathology", colon=1)) is True
    unsure = labelled("retina", macular_edema=None)
    assert is_normal(illnesses_of("retina"), unsure) is True
    assert is_normal(illnesses_of("retina"), unsure | {"retina.diabetic_retinopathy": None}) is None


def test_membership_is_known_present_absent_or_not_known():
    group = Group("g", "g", frozenset({"ct.tumour", "ct.other", "pathology.tumour"}))
    assert is_in(group, "ct", {"ct.tumour": 1, "ct.other": None}) is True
    assert is_in(group, "ct", {"ct.tumour": 0, "ct.other": None}) is None
    assert is_in(group, "ct", {"ct.tumour": 0, "ct.other": 0}) is False
    assert is_in(group, "ecg", {"ecg.tumour": 1}) is None


def test_an_example_has_the_groups_that_its_modality_can_show():
    tumour, healthy = labelled("ct", malignant_tumour=1), labelled("ct")
    told = shared_labels("ct", [tumour, healthy])
    assert told[0] == {"shared:normal": 0, "shared:malignancy": 1, "shared:focal-lesion": 1}
    assert told[1] == {"shared:normal": 1, "shared:malignancy": 0, "shared:focal-lesion": 0}


def test_sentences_that_modalities_share_are_the_same_and_name_no_image():
    ct, pathology, ecg = (
        {c.text: dict(c.states) for c in shared_captions(m)} for m in ("ct", "pathology", "ecg")
    )
    assert ct["no malignancy"] == pathology["no malignancy"] == {"shared:malignancy": 0}
    assert "no malignancy" not in ecg
    assert ct["no abnormality"] == ecg["no abnormality"] == {"shared:normal": 1}
    for text in {**ct, **pathology, **ecg}:
        assert not {"ct", "ecg", "radiograph", "slide", "fundus"} & set(text.split())


def test_a_shared_sentence_is_true_where_the_labels_say_so():
    captions = shared_captions("ct")
    labels = [labelled("ct", malignant_tumour=1), labelled("ct"), labelled("ct", malignant_tumour=None)]
    findings, told, states = stated("ct", labels, captions)
    assert findings == len(findings_of("ct"))
    true = relation(told, states)
    where = {c.text: i for i, c in enumerate(captions)}
    assert true[:, where["cancer"]].tolist() == [1, 0, -1]
    assert true[:, where["no cancer"]].tolist() == [0, 1, -1]
    assert true[:, where["no abnormality"]].tolist() == [0, 1, -1]


def naive_truth(known, states):
    """1, 0 or -1: every statement looked up by itself."""
    told = [None if known[name] is None else int(known[name]) == value for name, value in states.items()]
    if False in told:
        return 0
    return -1 if None in told else 1


def whole(modality, labels, illnesses, groups):
    """Labels of findings and of groups, by the definitions."""
    told = {f"shared:{g.id}": is_in(g, modality, labels) for g in groups}
    return {**labels, **told, "shared:normal": is_normal(illnesses, labels)}


@pytest.mark.parametrize("modality", ["xray", "ct", "retina", "ecg", "pathology"])
def test_what_findings_and_groups_say_together_equals_looking_each_up(modality):
    random, ids = np.random.default_rng(0), [f.id for f in findings_of(modality)]
    labels = [{i: (0, 0, 0, 0, 1, None)[random.integers(0, 6)] for i in ids} for _ in range(12)]
    labels += [dict.fromkeys(ids, 0), dict.fromkeys(ids, None)]
    captions = (*caption_pool(modality)[::7], *shared_captions(modality))
    _, told, states = stated(modality, labels, captions)
    illnesses, groups = illnesses_of(modality), load_groups()
    known = [whole(modality, each, illnesses, groups) for each in labels]
    expected = [[naive_truth(each, c.states) for c in captions] for each in known]
    assert relation(told, states).tolist() == expected
