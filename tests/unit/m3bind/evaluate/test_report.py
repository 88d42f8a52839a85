"""The page and the plots of made-up figures, measured by the code that measures real ones."""

import json
import re

import numpy as np
import pytest

from m3bind.data.groups import load_groups
from m3bind.evaluate.cli import write
from m3bind.evaluate.details import details
from m3bind.evaluate.few_shot import few_shot, few_shot_probe, tasks_of
from m3bind.evaluate.limits import without_figure
from m3bind.evaluate.markdown import page, summary
from m3bind.evaluate.misses import calibration as calibration_lines
from m3bind.evaluate.reliability import calibration
from m3bind.evaluate.report import Drawn, claims, measure_system, plain
from m3bind.evaluate.space import alike, plane
from m3bind.evaluate.systems import DISTILLED, NOISE, UNBOUND
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
    systems[NOISE], _ = measure_system(data, turned, load_groups(), 8)  # it has no few-shot figures
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
            "shared_sentences": 12,
            "counts": {m: {"val": 48, "groups": 24, "calib": 48, "support": 48} for m in data},
            "systems": systems,
            "space": spaces,
            "probe": {"supervised": {}, "few_shot": {"ct": probe}},
            "calibration": {
                m: calibration(d, bound[m], list(draws[DISTILLED].zero_shot[m])) for m, d in data.items()
            },
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
        "kept": {"ct": True, "pathology": recipe},
        "cross_modal": system["cross_modal"]["centred"]["mean"],
        "text_megabytes": 12.0,
    }
    row = {"what": what, "value": value, "recipe": recipe, "seconds": {"bind": 60.0, "distil": 30.0}}
    return {**row, "bound": own, "distilled": own}


def test_the_claims_of_a_bound_world_hold(told):
    gained = told["claims"]["cross_modal"]["centred, pairs"]
    assert gained["above chance"]["twice"]
    assert gained["above chance"]["clear_of_chance"]
    assert gained["above chance"]["ratio"] is None
    assert gained["mAP"]["most_possible_ratio"] >= gained["mAP"]["ratio"]
    assert gained["mAP"]["over_chance_low"] > 0
    assert gained["mAP"]["gain"]["low"] > 0
    assert told["claims"]["zero_shot_kept"]["ct"]["kept"]


def test_what_is_above_chance_by_chance_is_not_clear_of_it(told):
    """The verdict asks the interval of the figure less the chance of the same sample, not the figure."""
    for measures in told["claims"]["cross_modal"].values():
        for name, claim in measures.items():
            assert claim["clear_of_chance"] == (claim["over_chance_low"] > 0), name
    mean = told["systems"][DISTILLED]["cross_modal"]["centred"]["mean"]
    figures = {DISTILLED: {"cross_modal": {"centred": {"mean": mean, "mean_all_others": None}}}}
    figures[DISTILLED]["cross_modal"]["uncentred"] = {"mean": None, "mean_all_others": None}
    near = {m: {**mean[m], "over_chance_low": -0.01} for m in mean}
    figures[UNBOUND] = figures[DISTILLED]
    ours = {**figures[DISTILLED]["cross_modal"], "centred": {"mean": near, "mean_all_others": None}}
    none = Drawn({}, {("centred", "mean"): np.zeros((4, 3))})
    made = claims({**figures, DISTILLED: {"cross_modal": ours}}, {DISTILLED: none, UNBOUND: none})
    assert not any(c["clear_of_chance"] for c in made["cross_modal"]["centred, pairs"].values())


def test_page_and_plots_tell_every_part(told, tmp_path):
    json.dumps(told, allow_nan=False)
    runs = [run("weight", v, told["systems"][DISTILLED], v == "20") for v in ("0", "20")]
    runs.append(run("rank", "8", told["systems"][UNBOUND], True))
    ablation = {"command": "m3bind ablate toy", "steps": {"bind": 4, "distil": 6}, "runs": runs}
    ablation["unbound"] = {**runs[0]["bound"], "kept": {}}
    paths = write(told, ablation, tmp_path)
    text = (tmp_path / "EVALUATION.md").read_text("utf-8")
    behind = (tmp_path / "evaluation" / "DETAILS.md").read_text("utf-8")
    for head in (
        "Targets",
        "What is not met, and why",
        "What binding is to show",
        "Zero-shot",
        "Few-shot",
        "Across modalities",
        "Calibration and thresholds",
        "Ablations",
    ):
        assert f"\n## {head}\n" in text
    for head in ("Zero-shot by finding", "Thresholds", "Across modalities", "Findings without a figure"):
        assert f"\n## {head}\n" in behind
    assert len(text.splitlines()) < 250
    assert "**missed by .020**" in text
    assert "not measured: x.json is not there" in text
    assert "| weight | 20 (recipe) | distilled |" in text
    assert "**not pathology**" in text
    assert "{" not in text + behind
    assert "## Ablations" not in page(told, None)
    plots = {p.name: p for p in paths if p.suffix == ".png"}
    assert set(plots) == {f"{n}.png" for n in ("few-shot", "retrieval", "calibration", "space", "ablation")}
    assert all(p.read_bytes()[:4] == b"\x89PNG" and p.stat().st_size > 10_000 for p in plots.values())
    linked = set(re.findall(r"\]\(([^)]+)\)", text))
    assert "../dicom_node/assets/toy/MODEL_CARD.md#thresholds" in linked
    linked = {name for name in linked if not name.startswith("../")}
    assert len(linked) == 6
    assert all((tmp_path / name).is_file() for name in linked)
    assert (tmp_path / "evaluation" / "../EVALUATION.md").is_file()


def test_a_missed_target_tells_what_the_figures_say_of_why(told):
    figure = {**told["targets"][0]["measured"], "high": 0.98}
    probe = {"value": 0.995, "low": 0.99, "high": 1.0}
    row = {**told["targets"][0], "measured": figure, "probe_here": probe}
    text = page({**told, "targets": [row]}, None)
    assert "0 of 1 targets that were measured of this checkpoint are met" in text
    assert "does not hold the target" in text
    assert "meets it on the same images" in text
    assert "Tried: more steps." in page({**told, "targets": [{**row, "tried": "more steps"}]}, None)
    worse = {**row, "probe_here": {**probe, "value": 0.5}, "measured": told["targets"][0]["measured"]}
    text = page({**told, "targets": [worse]}, None)
    assert "holds the target" in text
    assert "misses it too" in text


def test_the_page_tells_no_folder_of_a_machine(told):
    away = "/" + "home/anna/ck"
    text = page({**told, "command": f"m3bind evaluate {away} --report {away}/report"}, None)
    assert "`m3bind evaluate ck --report report`" in text
    assert "anna" not in text


def test_findings_above_the_target_are_named_by_whether_chance_explains_it():
    own = {"n": 50, "positives": 20, "threshold": None}

    def error(value):
        figure = {"value": value, "low": 0.0, "high": 1.0, "perfect": 0.04, "perfect_high": 0.08}
        return {**own, "expected_calibration_error": figure}

    found = {"ct.a": error(0.03), "ct.b": error(0.07), "ct.c": error(0.2)}
    lines = calibration_lines({"ct": {"findings": found}})
    assert lines[0] == "1 of 3 findings are at .050 or below."
    assert lines[1].endswith("by chance: ct.b .070.")
    assert lines[2].endswith("by more than chance: ct.c .200.")


def test_the_page_tells_its_limits(told):
    text = page(told, None)
    assert "`IDRiD_064_test.jpg` of val and `IDRiD_118_train.jpg` of training" in text
    assert "holds 500 rows" in text
    assert "ct.benign_nodule (0)" in details(told)
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


def test_a_target_of_other_towers_is_marked_and_counted_apart(told):
    row = told["targets"][0]
    other = {**row, "task": "by cross-validation", "met": True, "missed_by": 0.0, "source": "x.json"}
    text = page({**told, "targets": [row, other]}, None)
    assert "| met, not this checkpoint |" in text
    assert "- 0 of 1 targets that were measured of this checkpoint are met." in text
    assert "that are not this checkpoint: 1 of 1 met." in text
    assert "trained without the fold it is measured on (`x.json`)" in " ".join(text.split())
    assert "Counted apart" not in page({**told, "targets": [row]}, None)


def test_what_is_at_chance_or_lowered_by_binding_is_told(told):
    ours = json.loads(json.dumps(told["systems"][DISTILLED]))
    ours["image_text"]["ct"]["text_to_image"]["R@1"] = {"value": 0.1, "low": 0.0, "high": 0.2, "chance": 0.1}
    group, figures = next(iter(ours["cross_modal"]["centred"]["by_group"].items()))
    before = json.loads(json.dumps(told["systems"][UNBOUND]))
    figures["above chance"] = {"value": 0.2, "low": -0.1, "high": 0.4, "over_chance_low": -0.1}
    before["cross_modal"]["centred"]["by_group"][group]["above chance"]["value"] = 0.3
    text = page({**told, "systems": {**told["systems"], DISTILLED: ours, UNBOUND: before}}, None)
    assert "ct text to image R@1 .100 (.000 to .200), chance .100 (unbound towers " in text
    said = ".200 (-.100 to .400), not clear of chance; binding lowered it"
    assert f"Across modalities, {group}, above chance: {said}" in text
    whole = page(told, None)
    assert "binding lowered it" not in whole
    assert ".000 to .200), chance .100" not in whole


def test_the_picture_of_the_space_is_told_in_a_figure(told):
    points = [{"x": x, "y": 0.0, "modality": m} for x, m in ((0, "ct"), (1, "ct"), (5, "ecg"), (7, "ct"))]
    assert alike(points) == 0.5
    assert "The nearest point of the picture is of the same modality for " in page(told, None)
    assert "nearest point" not in page({**told, "space": {}}, None)


def test_the_summary_names_every_target(told):
    lines = summary(told)
    assert any("24 positives of 48, target .990, missed by .020" in line for line in lines)
    assert any("not measured" in line for line in lines)


def test_figures_as_text():
    assert (number(0.5), number(1.0), number(-0.031), number(None)) == (".500", "1.000", "-.031", "-")
    assert with_interval({"value": 0.5, "low": 0.25, "high": 0.75}) == ".500 (.250 to .750)"
    assert with_interval(None) == with_interval({"value": None}) == "-"
