"""The command line, and the first stage on a few real records."""

import pytest
from typer.testing import CliRunner

from m3bind.cli import app, main
from m3bind.config import load_recipe, parse_recipe
from m3bind.loop import schedule

pytestmark = pytest.mark.train


def test_recipes_are_listed():
    done = CliRunner().invoke(app, ["recipes"])
    assert done.exit_code == 0
    assert "mini" in done.output.split()


@pytest.mark.parametrize("command", ["run", "pretrain", "bind", "distil", "evaluate", "recipes"])
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


def test_schedule_rises_then_falls_to_nought():
    factors = [schedule(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == pytest.approx(1.0)
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] < 0.01


@pytest.mark.data
def test_pretraining_learns(tmp_path):
    from m3bind.pretrain import pretrain_modality

    raw = load_recipe("mini").model_dump(mode="json")
    ecg = raw["modalities"]["ecg"]
    ecg |= {"datasets": ["ptbxl"], "steps": 24}
    ecg["tower"] |= {"widths": [8, 16, 32], "dropout": 0.0}
    raw["modalities"], raw["dimension"] = {"ecg": ecg}, 32
    raw["pretrain"] |= {
        "batch": 12,
        "text_layers": 0,
        "projection_lr": 5e-3,
        "waveform_lr": 5e-3,
        "warmup": 2,
    }
    told = []
    pretrain_modality(parse_recipe(raw, "test"), "ecg", tmp_path, told.append)
    losses = [float(line.rsplit(" ", 1)[1]) for line in told]
    assert sum(losses[-3:]) / 3 < losses[0]
