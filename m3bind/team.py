"""The processes that train together: one, or several started by `accelerate launch`.

Every process draws the same batch. Each embeds its share of the rows; `Team.rows` puts the embeddings of
all together again, so that the loss (contrastive over the whole batch, as in CLIP) is the one that a single
process would have. The gradient of a process flows through its own rows only; `Team.average` makes the
mean over processes, which is the gradient of the single process, up to rounding.

Only the first process writes. All of them read the same folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dicom_node.errors import ConfigError

Indices = NDArray[np.int64]


class _Echo(torch.autograd.Function):
    """The same values; the gradient times the number of processes, for a mean will be taken over them."""

    @staticmethod
    def forward(context: Any, values: Tensor, size: int) -> Tensor:
        """Identity."""
        context.size = size
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Scaled."""
        return gradients[0] * context.size, None


def _echo(values: Tensor, size: int) -> Tensor:
    return cast(Tensor, _Echo.apply(values, size))  # type: ignore[no-untyped-call] # torch leaves it untyped


class Team:
    """One process alone."""

    rank = 0
    size = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def rows(self, indices: Indices, embed: Callable[[Indices], Tensor]) -> Tensor:
        """(n, D): what `embed` makes of `indices`, row by row, with gradient."""
        return embed(indices)

    def average(self, modules: Sequence[nn.Module | nn.Parameter]) -> None:
        """Gradients and buffers (running statistics) become their mean over the processes."""

    def mean(self, value: float) -> float:
        """The mean over the processes; the same everywhere."""
        return value

    def wait(self) -> None:
        """Until every process is here."""

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """The first process goes through the block (and fills a cache) before the others do."""
        yield


class Teamwork(Team):
    """One of several processes, over accelerate (gloo on CPUs, NCCL on GPUs)."""

    def __init__(self, accelerator: Any) -> None:
        super().__init__(accelerator.device)
        self._accelerator = accelerator
        self.rank, self.size = int(accelerator.process_index), int(accelerator.num_processes)

    def rows(self, indices: Indices, embed: Callable[[Indices], Tensor]) -> Tensor:
        """(n, D); each process embeds every `size`-th row, at least one, so that all gather alike."""
        most = -(-len(indices) // self.size)
        places = np.arange(self.rank, self.rank + most * self.size, self.size) % len(indices)
        own = embed(indices[places])
        with torch.no_grad():
            told = self._accelerator.gather(own.detach().contiguous())
        # Gathered by process: row k of process r is row k * size + r of the batch.
        together = told.view(self.size, most, -1).clone()
        together = torch.cat([together[: self.rank], _echo(own, self.size)[None], together[self.rank + 1 :]])
        return together.transpose(0, 1).reshape(self.size * most, -1)[: len(indices)]

    def average(self, modules: Sequence[nn.Module | nn.Parameter]) -> None:
        """One message for all of them."""
        parts = [p for m in modules for p in ([m] if isinstance(m, nn.Parameter) else m.parameters())]
        tensors = [p.grad for p in dict.fromkeys(parts) if p.grad is not None]
        for module in modules:
            if not isinstance(module, nn.Parameter):
                tensors += [b for b in module.buffers() if b.is_floating_point()]
        if not tensors:
            return
        flat = self._accelerator.reduce(torch.cat([t.detach().reshape(-1) for t in tensors]), "mean")
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def mean(self, value: float) -> float:
        """Over all."""
        told = torch.tensor([value], dtype=torch.float32, device=self.device)
        return float(self._accelerator.reduce(told, "mean")[0])

    def wait(self) -> None:
        """A barrier."""
        self._accelerator.wait_for_everyone()

    @contextmanager
    def first_then_others(self) -> Iterator[None]:
        """Two barriers."""
        with self._accelerator.main_process_first():
            yield


def alone(device: str = "cpu") -> Team:
    """A team of one. Raises ConfigError where the device is not there."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("The recipe asks for machine.device = 'cuda', and torch sees no such device here.")
    return Team(torch.device(device))


def gather_team(device: str = "auto") -> Team:
    """The team that `accelerate launch` started this process in, else a team of one."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return alone(device)
    try:
        from accelerate import Accelerator
    except ModuleNotFoundError as missing:
        raise ConfigError(
            "Several processes need the package accelerate: pip install '.[train]'."
        ) from missing
    return Teamwork(Accelerator(cpu=device == "cpu" or not torch.cuda.is_available()))
