"""What all training stages share: the schedule, one optimisation step, early stop, going on after a kill.

The chance of a step (which examples, which augmentation, which dropout) is a function of the seed and of the
number of the step, and of nothing that came before. So a snapshot needs weights and the optimiser's moments
only, and a stage that was killed and goes on ends with the very bits of one that was not.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dicom_node.errors import ConfigError
from m3bind.config import MachineRecipe, StopRecipe
from m3bind.runlog import Bar, CsvLog, Log, TensorBoardLog
from m3bind.snapshot import Keeper, Snapshot
from m3bind.team import Team, alone

Progress = Callable[[str], None]
"""Told one line of text at each step of interest."""

Losses = Callable[[np.random.Generator], Mapping[str, Tensor]]
"""One batch drawn with this generator: its losses by name, whose sum is to fall."""

Measure = Callable[[], float]
"""A figure on held-out examples, as `StopRecipe.measure` says."""


def set_up(seed: int, threads: int) -> None:
    """Seeds of every generator, and the number of threads."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def half_precision(device: str = "cpu", precision: str = "bf16") -> AbstractContextManager[object]:
    """16 bits for convolutions and matrix products; weights, losses and the optimiser stay float32. On a CPU
    that has the instructions bfloat16 is five times faster. `precision` as `MachineRecipe` has it."""
    if precision == "no":
        return nullcontext()
    return torch.autocast(device, dtype=torch.bfloat16 if precision == "bf16" else torch.float16)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@dataclass(frozen=True, eq=False)
class Workplace:
    """Where and with whom a stage is done."""

    progress: Progress
    team: Team = field(default_factory=alone)
    precision: str = "bf16"
    keeper: Keeper | None = None
    """None: no snapshots, no logs."""

    def views(self, random: np.random.Generator) -> np.random.Generator:
        """Chance for this process's share of the images; `random` itself stays the same in all processes."""
        return random.spawn(self.team.size)[self.team.rank]

    def cast(self) -> AbstractContextManager[object]:
        """The precision of the recipe, for the forward pass."""
        return half_precision(self.team.device.type, self.precision)


def workplace(machine: MachineRecipe, progress: Progress, team: Team, keeper: Keeper | None) -> Workplace:
    """The one that the recipe asks for. Raises ConfigError for fp16 without CUDA."""
    if machine.precision == "fp16" and team.device.type != "cuda":
        raise ConfigError("machine.precision = 'fp16' needs a CUDA device: use 'bf16' or 'no' here.")
    return Workplace(progress if team.first else _silent, team, machine.precision, keeper)


def _silent(_: str) -> None:
    """Only the first process speaks."""


@dataclass(frozen=True, eq=False)
class Part:
    """What is trained at one learning rate; of it, whatever requires a gradient."""

    name: str
    module: nn.Module | nn.Parameter
    lr: float

    def parameters(self) -> dict[str, nn.Parameter]:
        """Those that are trained, by name."""
        if isinstance(self.module, nn.Parameter):
            return {self.name: self.module}
        return {f"{self.name}.{n}": p for n, p in self.module.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """All that training changes: the parameters, and the buffers (running statistics)."""
        told: dict[str, Tensor] = {n: p.detach() for n, p in self.parameters().items()}
        if isinstance(self.module, nn.Module):
            told |= {f"{self.name}.{n}": b for n, b in self.module.named_buffers()}
        return told


@dataclass(frozen=True)
class Plan:
    """How long, and how."""

    name: str
    steps: int
    warmup: int
    weight_decay: float
    seed: int
    accumulate: int = 1
    stop: StopRecipe | None = None


@dataclass(frozen=True)
class Outcome:
    """How a stage went."""

    steps: int
    """That were done, in all runs together."""
    seconds: float
    best_step: int | None = None
    """After which the kept weights were measured; None where nothing was measured."""
    best: float | None = None


def parameter_groups(parts: Iterable[Part], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups: what requires a gradient; only matrices decay."""
    groups: list[dict[str, Any]] = []
    for part in parts:
        wanted = list(part.parameters().values())
        for decay, chosen in (
            (weight_decay, [p for p in wanted if p.ndim > 1]),
            (0.0, [p for p in wanted if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": part.lr, "base_lr": part.lr, "weight_decay": decay})
    return groups


def generator(seed: int, step: int, stream: int = 0) -> np.random.Generator:
    """The chance of one step; streams do not touch each other."""
    return np.random.default_rng([seed, step, stream])


class _Run:
    """One stage under way: what a snapshot holds, and how it moves."""

    def __init__(self, parts: Sequence[Part], plan: Plan, where: Workplace) -> None:
        self.parts, self.plan, self.where = parts, plan, where
        self.groups = parameter_groups(parts, plan.weight_decay)
        self.optimizer = torch.optim.AdamW(self.groups)
        self.scaler = torch.amp.GradScaler("cuda", enabled=where.precision == "fp16")
        self.step, self.waited, self.seconds = 0, 0, 0.0
        self.best: float | None = None
        self.best_step: int | None = None
        self.best_state: dict[str, Tensor] = {}

    def state(self) -> dict[str, Tensor]:
        return {k: v for part in self.parts for k, v in part.state().items()}

    def trained(self) -> list[nn.Parameter]:
        return [p for group in self.groups for p in group["params"]]

    def snapshot(self) -> Snapshot:
        tensors = {f"now.{k}": v for k, v in self.state().items()}
        tensors |= {f"best.{k}": v for k, v in self.best_state.items()}
        for i, parameter in enumerate(self.trained()):
            tensors |= {f"adam.{i}.{k}": v for k, v in self.optimizer.state[parameter].items()}
        facts = {
            "waited": self.waited,
            "seconds": self.seconds,
            "best": self.best,
            "best_step": self.best_step,
            "scaler": self.scaler.state_dict(),
        }
        return Snapshot(self.step, tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        kept, facts = snapshot.tensors, snapshot.facts
        for name, tensor in self.state().items():
            tensor.copy_(kept[f"now.{name}"])
        self.best_state = {k.removeprefix("best."): v for k, v in kept.items() if k.startswith("best.")}
        for i, parameter in enumerate(self.trained()):
            head = f"adam.{i}."
            moments = {k.removeprefix(head): v for k, v in kept.items() if k.startswith(head)}
            # The count of steps stays on the CPU, where AdamW makes it; the moments go to their parameter.
            self.optimizer.state[parameter] = {
                k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()
            }
        self.step, self.waited = snapshot.step, facts["waited"]
        self.seconds, self.best, self.best_step = facts["seconds"], facts["best"], facts["best_step"]
        if facts["scaler"]:
            self.scaler.load_state_dict(facts["scaler"])

    def optimise(self, losses: Losses) -> dict[str, float]:
        """One step of the optimiser: the losses and rates of it."""
        factor = schedule(self.step, self.plan.steps, self.plan.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        batches, told = self.plan.accumulate, dict[str, float]()
        for batch in range(self.step * batches, (self.step + 1) * batches):
            torch.manual_seed(int(generator(self.plan.seed, batch, self.where.team.rank + 1).integers(2**62)))
            parts = losses(generator(self.plan.seed, batch))
            total = torch.stack(list(parts.values())).sum() / batches
            self.scaler.scale(total).backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            for name, value in parts.items():
                told[name] = told.get(name, 0.0) + float(value.detach()) / batches
        self.where.team.average([part.module for part in self.parts])
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.trained(), 1.0)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        return told | {f"lr/{part.name}": part.lr * factor for part in self.parts}

    def watch(self, measure: Measure, stop: StopRecipe) -> float:
        """Measure; keep the weights where they are the best so far."""
        value = self.where.team.mean(measure())
        gain = value if stop.measure == "auc" else -value
        best = None if self.best is None else (self.best if stop.measure == "auc" else -self.best)
        if best is None or gain > best:
            self.best, self.best_step, self.waited = value, self.step, 0
            self.best_state = {k: v.clone() for k, v in self.state().items()}
        else:
            self.waited += 1
        return value

    def keep_best(self) -> None:
        """The best weights measured take the place of the last ones."""
        for name, tensor in self.state().items():
            if name in self.best_state:
                tensor.copy_(self.best_state[name])


def train(
    parts: Sequence[Part], losses: Losses, plan: Plan, where: Workplace, measure: Measure | None = None
) -> Outcome:
    """Steps of AdamW down the sum of what `losses` gives, with the schedule above, from the snapshot of the
    keeper where there is one. With `plan.stop` and `measure`, ends early and leaves the best weights."""
    run, keeper = _Run(parts, plan, where), where.keeper
    snapshot = keeper.read() if keeper else None
    if snapshot is not None:
        run.restore(snapshot)
        where.progress(f"{plan.name}: goes on after step {run.step}")
    stop = plan.stop if measure else None
    with ExitStack() as stack:
        logs = _logs(keeper, run.step) if keeper and where.team.first else []
        for log in logs:
            stack.callback(log.close)
        bar = stack.enter_context(Bar(plan.name, plan.steps, run.step, where.progress, where.team.first))
        while run.step < plan.steps and (stop is None or run.waited < stop.patience):
            began = time.monotonic()
            figures = run.optimise(losses)
            if stop and measure and (run.step % stop.every == 0 or run.step == plan.steps):
                value = run.watch(measure, stop)
                where.progress(f"{plan.name} {run.step}: {stop.split} {stop.measure} {value:.4f}")
            run.seconds += time.monotonic() - began
            for log in logs:
                log(run.step, figures)
            # After the row of the log: what a snapshot holds has been told.
            if keeper and where.team.first and run.step % keeper.every == 0:
                keeper.write(run.snapshot())
            bar.step({k: v for k, v in figures.items() if not k.startswith("lr/")})
    run.keep_best()
    return Outcome(run.step, run.seconds, run.best_step, run.best)


def _logs(keeper: Keeper, after: int) -> list[Log]:
    logs: list[Log] = [CsvLog(keeper.log, after)]
    if keeper.tensorboard:
        logs.append(TensorBoardLog(keeper.log, after))
    return logs
