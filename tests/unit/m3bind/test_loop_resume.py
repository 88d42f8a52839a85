"""A stage that was killed ends with the very bits of one that was not; several processes train as one."""

import csv
import os
import random
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from m3bind.config import StopRecipe
from m3bind.loop import generator, schedule
from m3bind.snapshot import Keeper, Snapshot
from tests.support.toy_training import toy_place, train_toy_pair
from tests.support.tree import ROOT

pytestmark = pytest.mark.train

STEPS = 40


def call(*words):
    return [sys.executable, "-m", "tests.support.toy_training", *map(str, words)]


def environment():
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def steps_told(log):
    path = log / "losses.csv"
    if not path.is_file():
        return []
    return [row[0] for row in csv.reader(path.read_text().splitlines())][1:]


def test_killed_at_any_step_it_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    undisturbed = subprocess.Popen(
        call("pair", whole, STEPS), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    victim = subprocess.Popen(
        call("pair", killed, STEPS, 0.05), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    )
    fatal, deadline = random.randint(4, STEPS - 6), time.monotonic() + 120
    while len(steps_told(killed / "log")) < fatal:
        assert victim.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.kill()  # SIGKILL
    assert victim.wait() == -9
    assert not (killed / "weights.safetensors").exists()
    again = subprocess.run(
        call("pair", killed, STEPS), cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert "goes on after step" in again.stdout
    assert undisturbed.wait() == 0
    one, other = load_file(whole / "weights.safetensors"), load_file(killed / "weights.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[k], other[k]) for k in one)
    assert (whole / "log/losses.csv").read_text() == (killed / "log/losses.csv").read_text()
    assert steps_told(killed / "log") == [str(i + 1) for i in range(STEPS)]


def launch(folder, processes):
    """By accelerate's launcher. `--multi_gpu` is its word for torchrun; with no GPU the team is on CPUs."""
    words = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", processes]
    words += ["--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no"]
    words += ["--main_process_port", 0, "-m", "tests.support.toy_training", "bind", folder, 6]
    return subprocess.run(
        [sys.executable, *map(str, words)], cwd=ROOT, env=environment(), capture_output=True, text=True
    )


def test_two_processes_train_as_one_does(tmp_path):
    alone, team = tmp_path / "alone", tmp_path / "team"
    alone.mkdir()
    team.mkdir()
    subprocess.run(call("bind", alone, 6), cwd=ROOT, env=environment(), check=True, capture_output=True)
    told = launch(team, 2)
    assert told.returncode == 0, told.stderr[-2000:]
    one, first, second = (
        load_file(path)
        for path in (
            alone / "weights.safetensors",
            team / "weights.safetensors",
            team / "weights-1.safetensors",
        )
    )
    for name, value in one.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(value, first[name], atol=2e-5), name


def test_early_stop_keeps_the_best_weights():
    figures = iter([0.5, 0.8, 0.7, 0.6, 0.9])
    seen = []
    stop = StopRecipe(measure="auc", every=2, patience=2)

    def measure():
        seen.append(pair_state())
        return next(figures)

    held = {}

    def pair_state():
        return {k: v.clone() for k, v in held["parts"]()}

    from m3bind.loop import Part, Plan, train

    module = torch.nn.Linear(3, 1)
    held["parts"] = lambda: module.state_dict().items()
    outcome = train(
        [Part("line", module, 0.1)],
        lambda random: {"loss": module(torch.from_numpy(random.random((4, 3), dtype="f4"))).pow(2).mean()},
        Plan("line", 100, 1, 0.0, seed=0, stop=stop),
        toy_place(),
        measure,
    )
    assert (outcome.steps, outcome.best_step, outcome.best) == (8, 4, 0.8)
    assert all(torch.equal(v, seen[1][k]) for k, v in module.state_dict().items())
    assert not torch.equal(seen[3]["weight"], seen[1]["weight"])


def test_accumulated_batches_make_the_mean_gradient():
    from m3bind.loop import Part, Plan, train

    def slope(accumulate):
        torch.manual_seed(0)
        module, drawn = torch.nn.Linear(1, 1, bias=False), []

        def losses(chance):
            drawn.append(float(chance.random()))
            return {"loss": (module.weight * drawn[-1]).sum()}

        train([Part("m", module, 1e-3)], losses, Plan("m", 1, 0, 0.0, 5, accumulate), toy_place())
        return float(module.weight.grad), drawn

    gradient, drawn = slope(4)
    assert len(set(drawn)) == 4
    assert gradient == pytest.approx(sum(drawn) / 4, rel=1e-5)


def test_the_chance_of_a_step_is_its_own():
    assert generator(1, 5).random() == generator(1, 5).random()
    assert len({generator(s, n, t).random() for s in (1, 2) for n in (0, 1) for t in (0, 1)}) == 8


def test_a_snapshot_of_another_recipe_is_left_alone(tmp_path):
    keeper = Keeper(tmp_path / "s.safetensors", tmp_path, "one", 5)
    keeper.write(Snapshot(3, {"now.x": torch.arange(4.0)}, {"best": None}))
    assert keeper.read().step == 3
    assert torch.equal(keeper.read().tensors["now.x"], torch.arange(4.0))
    assert Keeper(keeper.path, tmp_path, "other", 5).read() is None
    keeper.clear()
    assert keeper.read() is None


def test_every_loss_and_rate_is_logged_as_csv_and_curves(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train_toy_pair(toy_place(tmp_path), 5)
    with (tmp_path / "log" / "losses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert float(rows[2]["lr/text"]) == pytest.approx(1e-2 * schedule(2, 5, 2))
    curves = EventAccumulator(str(tmp_path / "log"))
    curves.Reload()
    drawn = [point.value for point in curves.Scalars("contrastive")]
    assert drawn == pytest.approx([float(row["contrastive"]) for row in rows], rel=1e-5)
