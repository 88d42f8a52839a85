"""The page and the plots of made-up figures, measured by the code that measures real ones."""

import json

import pytest

from m3bind.evaluate.few_shot import few_shot, few_shot_probe, tasks_of
from m3bind.evaluate.groups import load_groups
from m3bind.evaluate.limits import without_figure
from m3bind.evaluate.markdown import page, summary
from m3bind.evaluate.plots import draw
from m3bind.evaluate.reliability import calibration
from m3bind.evaluate.report import claims, measure_system, plain
from m3bind.evaluate.space import plane
from m3bind.evaluate.systems import DISTILLED, UNBOUND
from m3bind.evaluate.tables import number, with_interval

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def told(worlds):
    """Figures of a bound world beside those of one whose modalities disagree."""
    data, bound, turned = worlds
    systems, draws, spaces = {}, {}, {}
    for name, seen in ((DISTILLED, bound), (UNBOUND, turned)):
        systems[name], draws[name] = measure_system(data, seen, load_groups(), 8)
        systems[name]["few_shot"] = {m: few_shot(d, seen[m], tasks_of(d, 8)) for m, d in data.items()}
        spaces[name] = plane(seen, data, load_groups())
    probe = few_shot_probe(data["ct"], bound["ct"].pool, bound["ct"].val, tasks_of(data["ct"], 8))
    figure = {"value": 0.97, "low": 0.9, "high": 1.0, "n": 48, "positives": 24, "groups": 24}
    row = {
        "id": "t",
        "modality": "ct",
        "task": "malignant against normal",
        "probe_given": 1.0,
        "probe_here": None,
        "target": 0.99,
        "measured": figure,
        "met": False,
        "missed_by": 0.02,
        "source": None,
    }
    return plain(
        {
            "recipe": {"name": "toy", "version": "1"},
            "command": "m3bind evaluate toy",
            "commit": "abc",
            "measured_by": "def",
            "measured": "2026-01-01 00:00 UTC",
            "seconds": {"wall": 120, "processor": 60},
            "bootstrap": 40,
            "min_positives": 8,
            "counts": {m: {"val": 48, "groups": 24, "calib": 48, "support": 48} for m in data},
            "systems": systems,
            "space": spaces,
            "probe": {"supervised": {}, "few_shot": {"ct": probe}},
            "calibration": {m: calibration(d, bound[m], list(draws[DISTILLED][m])) for m, d in data.items()},
            "targets": [row, {**row, "measured": None, "met": None, "missed_by": None, "source": "x.json"}],
            "limits": {
                "without_figure": {m: without_figure(d, 8) for m, d in data.items()},
                "duplicates": [["IDRiD_064_test.jpg", "IDRiD_118_train.jpg"]],
                "reports": 500,
            },
            "claims": claims(systems, draws),
        }
    )


def run(what, value, system, recipe):
    macro = {m: s["macro"] for m, s in system["zero_shot"].items()}
    own = {
        "zero_shot": macro,
        "cross_modal": system["cross_modal"]["centred"]["mean"],
        "text_megabytes": 12.0,
    }
    return {"what": what, "value": value, "recipe": recipe, "bound": own, "distilled": own, "seconds": 60}


def test_the_claims_of_a_bound_world_hold(told):
    gained = told["claims"]["cross_modal"]["centred, pairs"]
    assert gained["above chance"]["twice"]
    assert gained["above chance"]["clear_of_chance"]
    assert gained["above chance"]["ratio"] is None
    assert gained["mAP"]["most_possible_ratio"] >= gained["mAP"]["ratio"]
    assert told["claims"]["zero_shot_kept"]["ct"]["kept"]


def test_page_and_plots_tell_every_part(told, tmp_path):
    json.dumps(told, allow_nan=False)
    runs = [run("weight", v, told["systems"][DISTILLED], v == "20") for v in ("0", "20")]
    runs.append(run("rank", "8", told["systems"][UNBOUND], True))
    ablation = {"command": "m3bind ablate toy", "steps": {"bind": 4, "distil": 6}, "runs": runs}
    text = page(told, ablation)
    for head in (
        "Targets",
        "What binding is to show",
        "Zero-shot",
        "Few-shot",
        "Across modalities",
        "Calibration",
    ):
        assert f"## {head}" in text
    assert "**missed by .020**" in text
    assert "not measured: x.json is not there" in text
    assert "| weight | 20 (recipe) | distilled |" in text
    assert "{" not in text
    assert "## Ablations" not in page(told, None)
    paths = draw(told, ablation, tmp_path)
    assert {p.name for p in paths} == {
        f"{n}.png" for n in ("few-shot", "retrieval", "calibration", "space", "ablation")
    }
    assert all(p.read_bytes()[:4] == b"\x89PNG" and p.stat().st_size > 10_000 for p in paths)
    for name in {line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")}:
        assert (tmp_path / name.split("/")[1]).is_file()


def test_the_page_tells_its_limits(told):
    text = page(told, None)
    assert "`IDRiD_064_test.jpg` of val and `IDRiD_118_train.jpg` of training" in text
    assert "holds 500 rows" in text
    assert "ct.benign_nodule (0)" in text
    assert "not measured by anything on this page" in text
    bare = {**told["limits"], "duplicates": [], "reports": None, "without_figure": {"ct": {}}}
    text = page({**told, "limits": bare}, None)
    assert "No file of val has the very bytes" in text
    assert "all_reports.csv" not in text


def test_a_row_of_few_positives_tells_what_it_leaves_out(told):
    """Also where every figure of an earlier evaluation has no such keys."""
    other = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 50, "positives": 4}
    note = {"leaves_out": "the doubtful", "readings": {"sure alone": other}}
    figure = {**told["targets"][0]["measured"], "left_out": 2}
    text = page({**told, "targets": [{**told["targets"][0], "measured": figure, **note}]}, None)
    assert (
        "24 positives of 48. 2 more are left out: the doubtful. Sure alone: .500 (.250 to .750), 4 of 50."
        in text
    )
    why = {**told["targets"][1], "why": "x.json is of version '0'"}
    assert "not measured: x.json is of version '0'" in page({**told, "targets": [why]}, None)


def test_the_summary_names_every_target(told):
    lines = summary(told)
    assert any("24 positives of 48, target .990, missed by .020" in line for line in lines)
    assert any("not measured" in line for line in lines)


def test_figures_as_text():
    assert (number(0.5), number(1.0), number(-0.031), number(None)) == (".500", "1.000", "-.031", "-")
    assert with_interval({"value": 0.5, "low": 0.25, "high": 0.75}) == ".500 (.250 to .750)"
    assert with_interval(None) == with_interval({"value": None}) == "-"
