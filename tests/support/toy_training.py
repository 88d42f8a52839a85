"""Towers of a few hundred weights and made-up examples: a whole stage in a second.

As a program it trains the toy pair, or binds two of them, and writes the weights:

    python -m tests.support.toy_training pair|bind FOLDER STEPS [SECONDS_PER_STEP]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from m3bind.bind import Side, bind_towers
from m3bind.config import BindRecipe, StopRecipe
from m3bind.data.batches import Sampler
from m3bind.data.captions import Caption, caption_pool
from m3bind.data.catalogue import findings_of
from m3bind.data.sides import FixedFeatures
from m3bind.data.texts import TextBank, banks_of
from m3bind.loop import Outcome, Part, Plan, Workplace, set_up
from m3bind.pretrain import START_SCALE, train_pair
from m3bind.snapshot import Keeper
from m3bind.team import Team, alone, gather_team
from m3bind.towers.base import TextTowerBase, VisualTower

DIMENSION, FEATURES, WIDTH = 8, 12, 16
CAPTIONS, IMAGES = 24, 40


class ToyImages(VisualTower):
    """(N, 5) to (N, D), with dropout and a running mean, as real towers have."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.dimension, self.features = DIMENSION, FEATURES
        self.lower = nn.Identity()
        self.body = nn.Sequential(
            nn.Linear(5, FEATURES), nn.BatchNorm1d(FEATURES), nn.Tanh(), nn.Dropout(dropout)
        )
        self.projection = nn.Linear(FEATURES, DIMENSION)

    def pooled(self, lower: Tensor) -> Tensor:
        return self.body(lower)

    def project(self, features: Tensor) -> Tensor:
        return nn.functional.normalize(self.projection(features), dim=-1)

    def from_lower(self, lower: Tensor) -> None:  # noqa: ARG002 # the protocol's
        return None

    def trained(self) -> list[nn.Module]:
        return [self.body]


class QueryValueImages(ToyImages):
    """The same with layers called query and value, as a transformer has."""

    lora_targets = ("query", "value")

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential()
        self.body.add_module("query", nn.Linear(5, FEATURES))
        self.body.add_module("tanh", nn.Tanh())
        self.body.add_module("value", nn.Linear(FEATURES, FEATURES))


class ToyLayer(nn.Module):
    """Query and value, and nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.value = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.value(torch.tanh(self.query(hidden)))


class ToyTexts(TextTowerBase):
    """Words by their first letters; `offset` makes another tokenizer of it."""

    lora_targets = ("query", "value")

    def __init__(self, offset: int = 0) -> None:
        super().__init__()
        self.dimension, self.offset = DIMENSION, offset
        self.words = nn.Embedding(32, WIDTH).requires_grad_(False)
        self.upper = nn.Sequential(ToyLayer(), ToyLayer())
        self.projection = nn.Linear(WIDTH, DIMENSION)

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        ids = [[(ord(word[0]) + len(word) + self.offset) % 32 for word in text.split()] for text in texts]
        longest = max(map(len, ids))
        padded = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])
        return {"input_ids": padded, "attention_mask": mask}

    def hidden(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:  # noqa: ARG002 # the protocol's
        return self.words(input_ids)

    def from_lower(self, hidden: Tensor, mask: Tensor) -> Tensor:
        weights = mask.unsqueeze(-1).float()
        mean = (self.upper(hidden) * weights).sum(1) / weights.sum(1)
        return nn.functional.normalize(self.projection(mean), dim=-1)

    def layers(self) -> list[nn.Module]:
        return list(self.upper)


class ToySide:
    """Made-up inputs through a toy tower; augmentation is noise."""

    def __init__(self, tower: VisualTower, inputs: Tensor, pause: float = 0.0, noise: float = 0.1) -> None:
        self.tower, self.inputs, self.pause, self.noise = tower, inputs, pause, noise

    def __call__(self, indices: NDArray[np.int64], random: np.random.Generator) -> Tensor:
        time.sleep(self.pause)  # a step takes as long as the test needs to kill it
        noise = torch.from_numpy(random.standard_normal((len(indices), 5), dtype=np.float32))
        return self.tower.pooled(self.inputs[torch.from_numpy(indices)] + self.noise * noise)

    def plain(self, indices: NDArray[np.int64]) -> Tensor:
        return self.tower.pooled(self.inputs[torch.from_numpy(indices)])


@dataclass(frozen=True)
class ToyExample:
    """Labels of a made-up image."""

    modality: str
    dataset: str
    labels: dict[str, int | None]


def toy_examples(modality: str = "ecg", count: int = IMAGES) -> tuple[list[ToyExample], Tensor]:
    """Examples, and inputs (N, 5) that tell the first finding."""
    random = np.random.default_rng(len(modality))
    ids = [f.id for f in findings_of(modality)]
    found = [
        ToyExample(modality, "made up", {i: int(random.random() < 0.4) for i in ids} | {ids[0]: n % 2})
        for n in range(count)
    ]
    inputs = random.normal(size=(count, 5)).astype(np.float32)
    inputs[:, 0] += 3.0 * np.asarray([e.labels[ids[0]] for e in found], dtype=np.float32)
    return found, torch.from_numpy(inputs)


def toy_captions(modality: str) -> tuple[Caption, ...]:
    """The first few."""
    return caption_pool(modality)[:CAPTIONS]


def train_toy_pair(
    where: Workplace, steps: int, pause: float = 0.0, **plan: object
) -> tuple[nn.Module, Outcome]:
    """A toy image tower and a toy text tower, trained together."""
    torch.manual_seed(1)
    pair = nn.ModuleDict({"image": ToyImages(), "text": ToyTexts()})
    tower, text = pair["image"], pair["text"]
    assert isinstance(tower, VisualTower)
    assert isinstance(text, TextTowerBase)
    found, inputs = toy_examples()
    captions = toy_captions("ecg")
    scale = nn.Parameter(torch.tensor(START_SCALE))
    parts = [
        Part("image", tower.body, 1e-2),
        Part("image_projection", tower.projection, 1e-2),
        Part("text", text.upper, 1e-2),
        Part("text_projection", text.projection, 1e-2),
        Part("scale", scale, 1e-2),
    ]
    settings = Plan("toy", steps, 2, 0.01, seed=7, **plan)  # type: ignore[arg-type]
    outcome = train_pair(
        tower,
        text,
        ToySide(tower, inputs, pause),
        Sampler(found, captions),  # type: ignore[arg-type]
        TextBank([c.text for c in captions], text),
        parts,
        scale,
        8,
        settings,
        where,
        None,
    )
    return pair, outcome


BIND = BindRecipe(
    steps=6,
    batch=7,  # odd: two processes have shares of different size
    shared_texts=9,
    weight=5.0,
    rank=2,
    alpha=2,
    dropout=0.0,
    lora_lr=1e-2,
    projection_lr=1e-2,
    weight_decay=0.0,
    warmup=1,
)


def toy_sides(live: bool = False) -> dict[str, Side]:
    """Two modalities, each with a tokenizer of its own; `live`: image towers that adapters may change."""
    torch.manual_seed(2)
    modalities = ("ecg", "retina")
    towers = {
        m: (QueryValueImages() if live else ToyImages(0.0), ToyTexts(offset=5 * i))
        for i, m in enumerate(modalities)
    }
    captions = {m: toy_captions(m) for m in modalities}
    banks = banks_of([c.text for m in modalities for c in captions[m]], {m: t[1] for m, t in towers.items()})
    sides = {}
    for i, (modality, (tower, text)) in enumerate(towers.items()):
        found, inputs = toy_examples(modality)
        with torch.no_grad():
            features = tower.eval().pooled(inputs)
        images = ToySide(tower, inputs, noise=0.0) if live else FixedFeatures(features[None])
        sides[modality] = Side(
            tower,
            text,
            images,
            found,
            captions[modality],
            i * CAPTIONS,
            banks[modality],  # type: ignore[arg-type]
        )
    return sides


def toy_place(folder: Path | None = None, team: Team | None = None) -> Workplace:
    """Full precision, snapshots at every second step."""
    keeper = Keeper(folder / "state.safetensors", folder / "log", "toy", 2) if folder else None
    return Workplace(print, team or alone(), "no", keeper)


def main(kind: str, folder: Path, steps: int, pause: float) -> None:
    """Train and write `weights.safetensors`."""
    set_up(0, 1)
    team = gather_team("cpu")
    where = toy_place(folder if kind == "pair" else None, team)
    if kind == "pair":
        stop = StopRecipe(measure="loss", every=5, patience=1000)
        trained, _ = train_toy_pair(where, steps, pause, stop=stop)
    else:
        sides = toy_sides()
        bind_towers(sides, BIND.model_copy(update={"steps": steps}), 3, where)
        trained = nn.ModuleDict({m: nn.ModuleList([s.tower, s.text]) for m, s in sides.items()})
    name = "weights.safetensors" if team.first else f"weights-{team.rank}.safetensors"
    save_file({k: v.clone().contiguous() for k, v in trained.state_dict().items()}, folder / name)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]) if len(sys.argv) > 4 else 0.0)
