"""Who shares what with whom."""

import pytest

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import findings_of, illnesses_of
from m3bind.evaluate.groups import Group, is_in, is_normal, load_groups, parse_groups

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
