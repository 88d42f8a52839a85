import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.store import open_bundle
from export.cli import main
from export.diff import difference, verdict
from export.diff_table import difference_lines
from tests.support.bundles import TINY, alter_json, copy_tiny, reseal

pytestmark = pytest.mark.train

FIRST, SECOND, THIRD = "xray.pneumonia", "xray.effusion", "xray.cardiomegaly"


def figure(auc: float, low: float, high: float) -> dict[str, object]:
    return {"split": "val", "n": 90, "positives": 30, "auc": auc, "auc_ci": [low, high]}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of the tiny bundle that differ in one thing of each kind."""
    old, new = copy_tiny(tmp_path / "old"), copy_tiny(tmp_path / "new")

    def measure(content: dict, auc: float, low: float, high: float) -> None:
        content["findings"][0]["measured"] = figure(auc, low, high)

    def later(content: dict) -> None:
        measure(content, 0.9, 0.85, 0.95)
        content["findings"][1].update(enabled=False, disabled_because="it is weak")
        content["findings"][2]["threshold"] = 0.7
        del content["findings"][3]
        content["findings"][-1]["id"] = "pathology.new"

    def manifest(content: dict) -> None:
        content.update(format=2, version="2.0.0")
        content["encoders"]["xray"]["preprocess"][0]["high"] = 98.0
        del content["encoders"]["ecg"]
        content["provenance"]["commit"] = "f" * 40

    alter_json(old / "findings.json", lambda c: measure(c, 0.7, 0.6, 0.8))
    alter_json(new / "findings.json", later)
    alter_json(
        new / "findings.json",
        lambda c: c.update(findings=[f for f in c["findings"] if f["modality"] != "ecg"]),
    )
    alter_json(new / "scope.json", lambda c: c["modalities"].pop("ecg"))
    alter_json(new / "bundle.json", manifest)
    return reseal(old), reseal(new)


def test_one_of_each_kind_is_found(pair: tuple[Path, Path]) -> None:
    told = difference(*map(open_bundle, pair))
    assert told.files.changed == ("findings.json", "scope.json")
    assert told.encoders.removed == ("ecg",)
    assert [change.what for change in told.settings] == ["xray.preprocess"]
    assert {change.what for change in told.manifest} == {"format", "version", "provenance.commit"}
    assert "pathology.new" in told.findings.added
    assert "ct.malignancy" in told.findings.removed
    assert [(c.what, c.before, c.after) for c in told.switched] == [(SECOND, "on", "off: it is weak")]
    assert [(c.what, c.after) for c in told.thresholds] == [(f"{THIRD}.threshold", 0.7)]
    assert told.scope.removed == ("ecg",)
    (auc,) = told.figures
    assert (auc.finding, auc.what, auc.verdict) == (FIRST, "auc", "higher")
    lines = "\n".join(difference_lines(told))
    assert f"{SECOND}: on -> off: it is weak" in lines
    assert "0.700 (0.600-0.800)" in lines
    assert "removed  ecg" in lines


def test_the_way_back_is_the_reverse(pair: tuple[Path, Path]) -> None:
    there, back = difference(*map(open_bundle, pair)), difference(*map(open_bundle, pair[::-1]))
    assert back.findings.added == there.findings.removed
    assert [figure.verdict for figure in back.figures] == ["lower"]
    assert [(c.after, c.before) for c in back.thresholds] == [(c.before, c.after) for c in there.thresholds]


def test_a_bundle_does_not_differ_from_itself() -> None:
    bundle = open_bundle(TINY)
    told = difference(bundle, bundle)
    assert told.figures == ()
    assert difference_lines(told)[-1] == "no difference"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((0.7, 0.6, 0.8), (0.79, 0.75, 0.85), "same"),
        ((0.7, 0.6, 0.8), (0.9, 0.81, 0.95), "higher"),
        ((0.7, 0.6, 0.8), (0.5, 0.4, 0.59), "lower"),
        (None, (0.5, 0.4, 0.6), "unknown"),
    ],
)
def test_intervals_that_overlap_tell_no_difference(
    before: tuple[float, float, float] | None, after: tuple[float, float, float], expected: str
) -> None:
    assert verdict(before, after) == expected


def test_the_command_prints_lines_or_json(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--json"]):
        monkeypatch.setattr(sys, "argv", ["m3bind-export", "diff", *map(str, pair), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        out = capsys.readouterr().out
        if more:
            assert json.loads(out)["encoders"]["removed"] == ["ecg"]
        else:
            assert out.startswith("from  tiny 1.0.0")
            assert f"{SECOND}: on -> off: it is weak" in out
