"""Targets: who is in a task, and what a row tells."""

import json

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import load_findings
from m3bind.data.sources import DATASETS
from m3bind.evaluate.targets import (
    class_score,
    class_truth,
    from_file,
    load_targets,
    parse_target,
    rows,
    truth,
)

pytestmark = pytest.mark.train

ROW = {
    "id": "t",
    "modality": "ct",
    "task": "malignant against normal",
    "dataset": ["iq_othnccd"],
    "finding": ["ct.nothing", "ct.malignant_tumour"],
    "negative": "normal",
    "probe": 1.0,
    "zero_shot": 0.99,
}


def test_the_targets_that_ship_name_findings_and_data_sets_that_exist():
    known = {f.id for f in load_findings()}
    for target in load_targets():
        named = set(target.findings) | {i for states in target.classes.values() for i in states}
        assert named <= known, target.id
        assert target.datasets <= set(DATASETS), target.id


def test_a_row_needs_a_finding_or_classes():
    with pytest.raises(ConfigError, match="either"):
        parse_target({k: v for k, v in ROW.items() if k != "finding"})


def test_a_task_leaves_out_what_is_neither(world):
    data, _ = world
    labels = data["ct"].val.labels
    labels[0, data["ct"].val.ids.index("ct.benign_nodule")] = 1
    data["ct"].val.found[0].labels["ct.benign_nodule"] = 1
    told = truth(parse_target(ROW), data["ct"], "ct.malignant_tumour")
    assert told[:3].tolist() == [-1, 1, 1]
    elsewhere = parse_target({**ROW, "dataset": ["nih"]})
    assert (truth(elsewhere, data["ct"], "ct.malignant_tumour") == -1).all()


def test_classes_are_told_by_several_findings(world, sick):
    data, _ = world
    target = parse_target(ROW)
    states = {"ct.malignant_tumour": 1, "ct.benign_nodule": 0}
    assert class_truth(target, data["ct"], states).tolist() == sick.tolist()
    margins = {"ct.malignant_tumour": np.array([1.0, -1.0]), "ct.benign_nodule": np.array([-1.0, -1.0])}
    told = class_score(margins.get, states, scale=2.0)
    naive = np.log(1 / (1 + np.exp(-2.0 * np.array([1.0, -1.0])))) + np.log(1 / (1 + np.exp(2.0 * -1.0)))
    assert told == pytest.approx(naive)
    assert class_score({}.get, states, scale=2.0) is None


def test_rows_tell_what_was_met_and_by_how_much_it_was_missed(world, apart, tmp_path):
    data, seen = world
    target = parse_target(ROW)
    probes = {"ct": {"ct.malignant_tumour": np.zeros(48)}}
    (met,) = rows([target], data, seen, probes, tmp_path)
    assert met["met"] is True
    assert met["missed_by"] == 0.0
    assert met["measured"]["groups"] == 24
    assert met["probe_here"]["value"] == pytest.approx(0.5)
    other = parse_target(
        {**ROW, "modality": "pathology", "dataset": ["lc25000"], "finding": ["pathology.adenocarcinoma"]}
    )
    (missed,) = rows([other], data, apart[1], {}, tmp_path)
    assert missed["met"] is False
    assert missed["missed_by"] == pytest.approx(0.99)


def test_a_figure_of_another_command_is_read_where_it_is(tmp_path, world):
    target = parse_target({**ROW, "source": "told.json"})
    (row,) = rows([target], *world, {}, tmp_path)
    assert row["measured"] is None
    assert row["met"] is None
    path = tmp_path / "told.json"
    figure = {"value": 0.97, "low": 0.9, "high": 1.0, "n": 200, "positives": 15}
    path.write_text(json.dumps({"dataset": "ludb", "findings": {"ct.malignant_tumour": figure}}))
    (row,) = rows([target], *world, {}, tmp_path)
    assert row["missed_by"] == pytest.approx(0.02)
    assert row["measured"]["groups"] is None
    with pytest.raises(ConfigError, match="m3bind crossval"):
        from_file(path, ["ct.benign_nodule"])
