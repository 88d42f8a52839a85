"""The command line, and all training stages for two steps on real images and records."""

import json
import subprocess
import sys
import threading
import time

import pytest
from typer.testing import CliRunner

from dicom_node.errors import ConfigError
from m3bind.cli import app, main
from m3bind.config import load_recipe, parse_recipe
from m3bind.jobs import Children, default_jobs
from m3bind.loop import schedule
from tests.support.tree import ROOT

pytestmark = pytest.mark.train


def test_recipes_are_listed():
    done = CliRunner().invoke(app, ["recipes"])
    assert done.exit_code == 0
    assert "mini" in done.output.split()


@pytest.mark.parametrize(
    "command", ["run", "pretrain", "bind", "distil", "evaluate", "ablate", "crossval", "recipes"]
)
def test_every_command_explains_itself(command):
    done = CliRunner().invoke(app, [command, "--help"])
    assert done.exit_code == 0
    assert len(done.output) > 80


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["m3bind", "run", "no-such-recipe"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("m3bind: No recipe named 'no-such-recipe'")


@pytest.mark.parametrize("command", [["run", "mini"], ["evaluate", "mini"]])
def test_without_torch_it_says_what_to_install(command):
    code = f"import sys; sys.modules['torch'] = None; sys.argv[1:] = {command!r}\n"
    code += "from m3bind.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    told = "m3bind: training needs torch, which is not here: pip install '.[train]'"
    assert done.stderr.splitlines() == [told]


def test_schedule_rises_then_falls_to_nought():
    factors = [schedule(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] < 0.01


def test_a_modality_may_train_otherwise_than_the_rest():
    raw = load_recipe("mini").model_dump(mode="json")
    raw["modalities"]["ct"]["pretrain"] = {"batch": 7, "stop": {"measure": "loss"}}
    recipe = parse_recipe(raw, "test")
    assert recipe.pretrain_of("ct").batch == 7
    assert recipe.pretrain_of("ct").stop.measure == "loss"
    assert recipe.pretrain_of("ct").image_lr == recipe.pretrain.image_lr
    raw["modalities"]["ct"]["pretrain"] = {"bach": 7}
    with pytest.raises(ConfigError, match=r"ct\.pretrain: bach"):
        parse_recipe(raw, "test")


def test_children_tell_their_lines_and_their_failure(tmp_path):
    told = []
    with Children(told.append) as children:
        children.run(["platform"], threads=1)
        with pytest.raises(ConfigError, match=r"json\.tool.*ended with"):
            children.run(["json.tool", str(tmp_path / "none.json")], threads=1)
    assert any("Linux" in line or "macOS" in line for line in told)


def test_children_end_with_their_parent():
    told, failed = [], []
    with Children(told.append) as children:
        words = ["http.server", "0", "--bind", "127.0.0.1"]
        thread = threading.Thread(target=lambda: failed.append(children.run(words, threads=1)))
        thread.start()
        deadline = time.monotonic() + 60
        while not told and time.monotonic() < deadline:
            time.sleep(0.02)
    thread.join(30)
    assert not thread.is_alive()
    assert failed == [None]  # ended by us: no error


def test_jobs_are_no_more_than_modalities_or_cores():
    recipe = load_recipe("mini")
    assert 1 <= default_jobs(recipe) <= len(recipe.modalities)
    assert default_jobs(recipe.model_copy(update={"threads": 10_000})) == 1


def two_step_recipe(path):
    raw = load_recipe("mini").model_dump(mode="json", exclude_none=True)
    ecg, ct = raw["modalities"]["ecg"], raw["modalities"]["ct"]
    ecg |= {"datasets": ["ptbxl"], "steps": 2}
    ecg["tower"] = {"kind": "conv1d", "widths": [8, 16], "kernel": 7, "dropout": 0.1}
    ct |= {"steps": 2, "input_shape": [3, 64, 64], "augment": {"zoom": 0.1}}
    ct["tower"] = {"kind": "efficientnet-lite0", "trainable_from": 14, "variants": 1}
    for operation in ct["preprocess"]:
        if operation["op"] == "resize":
            operation["size"] = [64, 64]
    for part in (ecg, ct):
        part.pop("pretrain", None)
    raw["modalities"], raw["dimension"], raw["text"]["max_tokens"] = {"ecg": ecg, "ct": ct}, 16, 16
    stop = {"every": 1, "patience": 5}
    raw["pretrain"] |= {"batch": 6, "text_layers": 0, "warmup": 1, "stop": stop}
    raw["bind"] |= {"steps": 2, "batch": 6, "shared_texts": 6, "warmup": 1, "stop": stop, "views": 1}
    raw["distil"] |= {"steps": 2, "batch": 4, "images": 4, "warmup": 1, "stop": stop}
    raw["machine"] = {"snapshot": 1, "tensorboard": False}
    raw.pop("bundle", None)
    parse_recipe(raw, "test")
    path.write_text(json.dumps(raw))
    return path


def test_a_modality_that_the_recipe_lacks_is_told(tmp_path):
    words = ["pretrain", "mini", "--out", str(tmp_path), "--modality", "ct", "--modality", "mri"]
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("The recipe has no modality mri, only xray, ct")
    assert not list(tmp_path.rglob("*.lock"))


@pytest.mark.data
def test_all_stages_on_real_data(tmp_path, monkeypatch):
    path = two_step_recipe(tmp_path / "two.json")
    monkeypatch.setattr(
        "m3bind.cli.load_recipe", lambda name: parse_recipe(json.loads(path.read_text()), name)
    )
    work, runner = tmp_path / "work", CliRunner()
    where = ["two", "--out", str(work), "--cache", str(tmp_path / "cache")]
    for stage in ("pretrain", "bind", "distil"):
        done = runner.invoke(app, [stage, *where])
        assert done.exit_code == 0, done.output
        assert "2/2" in done.output
        again = runner.invoke(app, [stage, *where])
        assert "already done" in again.output
        assert "2/2" not in again.output
    assert not list((work / "state").glob("*.safetensors"))
    for stage in ("pretrain-ecg", "pretrain-ct", "bind", "distil"):
        assert len((work / "logs" / stage / "losses.csv").read_text().splitlines()) == 3
    record = json.loads((work / "stages/bind/bind.json").read_text())
    assert record["steps"] == 2
    assert 0.0 <= record["best"] <= 1.0
    before = (work / "stages/pretrain/image-ecg.safetensors").read_bytes()
    fresh = runner.invoke(app, ["pretrain", *where, "--modality", "ecg", "--fresh"])
    assert "2/2" in fresh.output
    assert (work / "stages/pretrain/image-ecg.safetensors").read_bytes() == before  # the seed decides
    config = json.loads((work / "config.json").read_text())
    assert config["recipe"]["dimension"] == 16
    assert (work / "text.safetensors").is_file()
    assert not [p for p in work.rglob("*") if p.suffix in (".pt", ".pth", ".pkl", ".bin", ".ckpt")]
