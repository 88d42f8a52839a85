"""What all training stages share: seeds, the schedule, one optimisation step, a line of progress."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

Progress = Callable[[str], None]
"""Told one line of text at each step of interest."""


def set_up(seed: int, threads: int) -> None:
    """Seeds of every generator, and the number of threads."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(threads)


def half_precision() -> AbstractContextManager[object]:
    """bfloat16 for convolutions and matrix products on the CPU: five times faster where it has the
    instructions; weights, losses and the optimiser stay float32."""
    return torch.autocast("cpu", dtype=torch.bfloat16)


def schedule(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: linear warm-up, then half a cosine down to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def parameter_groups(
    parts: Iterable[tuple[nn.Module | nn.Parameter, float]], weight_decay: float
) -> list[dict[str, object]]:
    """AdamW groups of (module or parameter, learning rate): what requires a gradient; only matrices decay."""
    groups: list[dict[str, object]] = []
    for part, lr in parts:
        parameters = [part] if isinstance(part, nn.Parameter) else list(part.parameters())
        wanted = [p for p in parameters if p.requires_grad]
        for decay, chosen in (
            (weight_decay, [p for p in wanted if p.ndim > 1]),
            (0.0, [p for p in wanted if p.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": lr, "base_lr": lr, "weight_decay": decay})
    return groups


def train(
    parts: Iterable[tuple[nn.Module | nn.Parameter, float]],
    losses: Callable[[int], Mapping[str, Tensor]],
    *,
    steps: int,
    warmup: int,
    weight_decay: float,
    name: str,
    progress: Progress,
) -> None:
    """`steps` steps of AdamW down the sum of what `losses(step)` gives, by name, with the schedule above."""
    groups = parameter_groups(parts, weight_decay)
    optimizer = torch.optim.AdamW(groups)
    every = max(1, steps // 8)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * schedule(step, steps, warmup)
        told = losses(step)
        total = torch.stack(list(told.values())).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_([p for g in groups for p in _list(g["params"])], 1.0)
        optimizer.step()
        if (step + 1) % every == 0 or step == 0:
            figures = "  ".join(f"{k} {float(v.detach()):.4f}" for k, v in told.items())
            progress(f"{name} {step + 1}/{steps}  {figures}")


def _list(parameters: object) -> list[nn.Parameter]:
    assert isinstance(parameters, list)  # noqa: S101 # made by parameter_groups
    return parameters
