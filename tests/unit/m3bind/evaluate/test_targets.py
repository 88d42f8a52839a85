"""Targets: who is in a task, and what a row tells."""

import json

import numpy as np
import pytest

from dicom_node.errors import ConfigError
from m3bind.data.catalogue import load_findings
from m3bind.data.sources import DATASETS
from m3bind.evaluate.readings import columns_of
from m3bind.evaluate.targets import (
    Made,
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
MADE = Made("toy", "1", lambda modality: f"settings of {modality}")


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
    (met,) = rows([target], data, seen, probes, tmp_path, MADE)
    assert met["met"] is True
    assert met["missed_by"] == 0.0
    assert met["measured"]["groups"] == 24
    assert met["probe_here"]["value"] == pytest.approx(0.5)
    other = parse_target(
        {**ROW, "modality": "pathology", "dataset": ["lc25000"], "finding": ["pathology.adenocarcinoma"]}
    )
    (missed,) = rows([other], data, apart[1], {}, tmp_path, MADE)
    assert missed["met"] is False
    assert missed["missed_by"] == pytest.approx(0.99)


FILE = {
    "recipe": "toy",
    "version": "1",
    "modality": "ct",
    "settings": "settings of ct",
    "dataset": "iq_othnccd",
    "findings": {"ct.malignant_tumour": {"value": 0.97, "low": 0.9, "high": 1.0, "n": 200, "positives": 15}},
}


def test_a_figure_of_another_command_is_read_where_it_is(tmp_path, world):
    target = parse_target({**ROW, "source": "told.json"})
    (row,) = rows([target], *world, {}, tmp_path, MADE)
    assert row["measured"] is None
    assert row["met"] is None
    assert row["why"].startswith("told.json is not there")
    (tmp_path / "told.json").write_text(json.dumps(FILE))
    (row,) = rows([target], *world, {}, tmp_path, MADE)
    assert row["missed_by"] == pytest.approx(0.02)
    assert row["measured"]["groups"] is None
    assert row["why"] is None


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("recipe", "other", "recipe 'other'"),
        ("version", "0", "version '0'"),
        ("modality", "ecg", "modality 'ecg'"),
        ("dataset", "ludb", "data set 'ludb'"),
        ("settings", "of another day", "other settings"),
        ("findings", {}, "m3bind crossval"),
    ],
)
def test_a_file_of_another_checkpoint_is_refused_and_costs_no_other_row(tmp_path, world, key, value, told):
    target = parse_target({**ROW, "source": "told.json"})
    path = tmp_path / "told.json"
    path.write_text(json.dumps({**FILE, key: value}))
    with pytest.raises(ConfigError, match=told):
        from_file(path, target, MADE)
    by_file, here = rows([target, parse_target(ROW)], *world, {}, tmp_path, MADE)
    assert by_file["measured"] is None
    assert told in by_file["why"]
    assert here["measured"]["value"] == 1.0


def test_settings_count_only_where_the_file_tells_them(tmp_path):
    path = tmp_path / "told.json"
    path.write_text(json.dumps({k: v for k, v in FILE.items() if k not in ("settings", "modality")}))
    assert from_file(path, parse_target({**ROW, "source": "told.json"}), MADE).estimate.value == 0.97


def test_other_readings_of_the_labels_stand_beside(world, tmp_path, sick):
    """Half of the sick carry `sure`, the others `doubtful`: left out by the catalogue's reading here."""
    data, seen = world
    own, number = data["ct"], data["ct"].val.ids.index("ct.malignant_tumour")
    tokens = {}
    for row, (example, ill) in enumerate(zip(own.val.found, sick, strict=True)):
        tokens[example.path] = {"said": frozenset({("sure", "doubtful")[row % 2]} if ill else ())}
        if ill and row % 2:
            own.val.labels[row, number] = -1
    told = {"sure alone": {"column": "said", "present": ["sure"], "otherwise": 0}}
    raw = {**ROW, "negative": "absent", "leaves_out": "the doubtful", "readings": told}
    (row,) = rows([parse_target(raw)], data, seen, {}, tmp_path, MADE, {"iq_othnccd": tokens}.__getitem__)
    assert (row["measured"]["n"], row["measured"]["positives"], row["measured"]["left_out"]) == (36, 12, 12)
    other = row["readings"]["sure alone"]
    assert (other["n"], other["positives"]) == (48, 12)
    assert row["measured"]["value"] == 1.0
    assert other["value"] < 1.0, "the doubtful look as sick as the others"
    assert row["leaves_out"] == "the doubtful"


@pytest.mark.data
def test_the_readings_that_ship_find_their_columns():
    (target,) = [t for t in load_targets() if t.readings]
    columns = columns_of("ptbxl")
    found = {n: sum(r.apply(c[r.column]) == 1 for c in columns.values()) for n, r in target.readings.items()}
    assert all(count > 0 for count in found.values())
    assert len(columns) == 500
