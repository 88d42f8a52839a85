"""findings/*.toml and captions.toml: what is stated, and what it is true of."""

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.config import load_recipe
from m3bind.data.captions import (
    UNKNOWN,
    caption_pool,
    label_matrix,
    load_templates,
    prompts,
    relation,
    state_matrix,
)
from m3bind.data.catalogue import LabelRule, findings_of, illnesses_of, load_findings, parse_finding

MODALITIES = tuple(load_recipe("mini").modalities)


def test_every_reported_finding_has_a_code_that_fits_dicom():
    ids = [f.id for f in load_findings()]
    assert len(ids) == len(set(ids))
    for spec in load_findings():
        assert spec.id.startswith(f"{spec.modality}.")
        if spec.report:
            assert spec.code is not None
            assert len(spec.code.value) <= 16
            assert len(spec.code.meaning) <= 64


def test_silence_has_a_reason():
    for spec in load_findings():
        assert (spec.why is None) == spec.report
    raw = {"id": "xray.a", "modality": "xray", "name": "A", "terms": ["a"], "labels": {}, "report": False}
    with pytest.raises(ConfigError, match="needs `why`"):
        parse_finding(raw)
    with pytest.raises(ConfigError, match="no code"):
        parse_finding(raw | {"report": True})


def test_a_kind_of_tissue_is_no_illness():
    assert "pathology.colon" not in {spec.id for spec in illnesses_of("pathology")}
    assert {spec.id for spec in illnesses_of("ct")} == {"ct.malignant_tumour", "ct.benign_nodule"}


def test_usual_names_are_used():
    names = {f.name for f in load_findings() if f.report}
    assert {"Pneumonia", "Diabetic retinopathy", "Myocardial infarction", "Adenocarcinoma"} <= names


def test_a_rule_decides_in_its_stated_order():
    rule = LabelRule("c", frozenset("p"), frozenset("u"), frozenset("a"), None)
    assert rule.apply({"p", "u", "a"}) == 1
    assert rule.apply({"u", "a"}) is None
    assert rule.apply({"a"}) == 0
    assert rule.apply({"x"}) is None


def naive_relation(labels, states):
    known = {f: v for f, v in labels.items() if v is not None}
    if any(f in known and known[f] != v for f, v in states.items()):
        return 0
    return 1 if all(f in known for f in states) else UNKNOWN


@pytest.mark.parametrize("modality", MODALITIES)
def test_relation_equals_reading_the_caption(modality):
    ids = [f.id for f in findings_of(modality)]
    random = np.random.default_rng(0)
    labels = [{i: (None, 0, 1)[random.integers(0, 3)] for i in ids} for _ in range(20)]
    pool = caption_pool(modality)
    told = relation(label_matrix(labels, ids), state_matrix(pool, ids))
    expected = [[naive_relation(each, c.states) for c in pool] for each in labels]
    assert told.tolist() == expected


@pytest.mark.parametrize("modality", MODALITIES)
def test_pool_speaks_for_against_and_of_normal(modality):
    pool = caption_pool(modality)
    assert len({c.text for c in pool}) == len(pool)
    assert not any("{" in c.text for c in pool)
    for spec in findings_of(modality):
        assert any(dict(c.states) == {spec.id: 1} for c in pool)
        assert any(dict(c.states) == {spec.id: 0} for c in pool)
    assert any(c.text in load_templates(modality).normal and set(c.states.values()) == {0} for c in pool)


def test_a_modality_without_sentences_is_told():
    with pytest.raises(ConfigError, match=r"captions\.toml has no \[modality\.mri\]"):
        load_templates("mri")


def test_negated_statements_read_as_negations():
    for modality in MODALITIES:
        health = load_templates(modality).normal
        for caption in caption_pool(modality):
            if set(caption.states.values()) == {0} and caption.text not in health:
                words = caption.text.split()
                assert {"no", "without", "absent", "negative"} & set(words), caption.text


def test_prompts_for_and_against_never_meet():
    for spec in load_findings():
        affirmed, negated = prompts(spec)
        assert affirmed
        assert negated
        assert not set(affirmed) & set(negated)
