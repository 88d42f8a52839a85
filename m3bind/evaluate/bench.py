"""Stages 1 and 2 in memory, again and again from the same towers: what `m3bind ablate` turns its screws on.

What no setting of an ablation changes is done once: the pretrained towers are read, their frozen layers embed
all training captions, and features of images whose towers change no more are taken from where the stages left
them. Nothing is written but features of towers that adapters changed.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from m3bind.bind import Side, bind_towers
from m3bind.checkpoint import load_side_towers, make_student
from m3bind.config import Recipe
from m3bind.data.captions import Caption, shared_captions, training_captions
from m3bind.data.examples import Example, examples
from m3bind.data.sides import ImageSide, image_side
from m3bind.data.texts import TextBank, banks_of, frozen_digest
from m3bind.distil import Taught, distil_student, start_projection, teach
from m3bind.evaluate.systems import BOUND, DISTILLED, System
from m3bind.loop import Workplace, set_up, workplace
from m3bind.stages import Site, features
from m3bind.towers.base import TextTowerBase, VisualTower


@dataclass(frozen=True, eq=False)
class Bench:
    """The pretrained towers of a checkpoint, ready to be bound."""

    here: Site
    """Where features are kept; its stage `pretrain` holds the towers."""
    towers: Mapping[str, tuple[VisualTower, TextTowerBase]]
    """As pretraining left them; `bind` trains copies."""
    found: Mapping[str, list[Example]]
    captions: Mapping[str, tuple[Caption, ...]]
    banks: Mapping[str, TextBank]
    """The captions of all modalities, as each text tower reads them."""
    fixed: Mapping[str, ImageSide]
    """Training images of towers that no stage changes any more."""
    student_banks: dict[str, TextBank] = field(default_factory=dict)
    """The same, by what the frozen part of a student is."""

    @property
    def place(self) -> Workplace:
        """Without snapshots and logs: a run takes minutes."""
        return workplace(self.here.recipe.machine, self.here.progress, self.here.team, None)


def open_bench(here: Site) -> Bench:
    """Read the towers in `here`/stages/pretrain, and what their frozen layers make of the captions."""
    recipe = here.recipe
    towers = {m: load_side_towers(recipe, m, here.stage("pretrain")) for m in recipe.modalities}
    for pair in towers.values():
        for tower in pair:
            tower.to(here.team.device)
    # As the stages have them (`stages.py`): a modality's own, then those that every modality may use.
    captions = {m: training_captions(m) + shared_captions(m) for m in towers}
    texts = [c.text for pool in captions.values() for c in pool]
    with workplace(recipe.machine, here.progress, here.team, None).cast():
        banks = banks_of(texts, {m: pair[1] for m, pair in towers.items()})
    found = {m: list(examples(recipe, m, "train")) for m in towers}
    fixed = {m: features(here, m, t, "train") for m, (t, _) in towers.items() if not t.lora_targets}
    return Bench(here, towers, found, captions, banks, fixed)


def _images(bench: Bench, modality: str, tower: VisualTower, live: bool) -> ImageSide:
    here = bench.here
    if modality in bench.fixed:
        return bench.fixed[modality]
    if live:
        return image_side(here.recipe, modality, tower, "train", here.cache, here.progress)[0]
    return features(here, modality, tower, "train")


def _sides(
    bench: Bench, towers: Mapping[str, tuple[VisualTower, TextTowerBase]], live: bool
) -> dict[str, Side]:
    sides: dict[str, Side] = {}
    first = 0
    for modality, (tower, text) in towers.items():
        captions = bench.captions[modality]
        sides[modality] = Side(
            tower=tower,
            text=text,
            images=_images(bench, modality, tower, live),
            found=bench.found[modality],
            captions=captions,
            first_text=first,
            bank=bench.banks[modality],
            balance=bench.here.recipe.modalities[modality].balance,
        )
        first += len(captions)
    return sides


def bind(bench: Bench, recipe: Recipe) -> dict[str, Side]:
    """Stage 1 by the settings of `recipe`, on copies of the towers; the sides as stage 2 takes them."""
    set_up(recipe.seed, recipe.threads)
    towers = {m: (copy.deepcopy(image), copy.deepcopy(text)) for m, (image, text) in bench.towers.items()}
    bind_towers(_sides(bench, towers, live=True), recipe.bind, recipe.seed, bench.place)
    return _sides(bench, towers, live=False)


def teaching(bench: Bench, sides: Mapping[str, Side]) -> Taught:
    """What the bound towers say of every caption: the same for all students of one binding."""
    with bench.place.cast():
        return teach(sides)


def distil(bench: Bench, recipe: Recipe, sides: Mapping[str, Side], taught: Taught) -> TextTowerBase:
    """Stage 2 by the settings of `recipe`: the student."""
    set_up(recipe.seed, recipe.threads)
    place = bench.place
    student = make_student(recipe).to(bench.here.team.device)
    key = frozen_digest(student)
    with place.cast():
        if key not in bench.student_banks:
            bench.student_banks[key] = TextBank(next(iter(sides.values())).bank.texts, student)
        bank = bench.student_banks[key]
    torch.manual_seed(recipe.seed)
    start_projection(bank, student, taught[1])
    distil_student(student, bank, sides, recipe.distil, recipe.seed, place, taught)
    return student


M = TypeVar("M", bound=nn.Module)


def _on_cpu(module: M) -> M:
    """Where figures are made; a copy where it is elsewhere."""
    device = next(module.parameters()).device
    return (module if device.type == "cpu" else copy.deepcopy(module).cpu()).eval()


def seen_by(sides: Mapping[str, Side], student: TextTowerBase | None = None) -> System:
    """What is measured: the towers as they are bound, or their images with the student's texts."""
    images = {m: _on_cpu(side.tower) for m, side in sides.items()}
    if student is not None:
        return System(DISTILLED, images, dict.fromkeys(sides, _on_cpu(student)))
    return System(BOUND, images, {m: _on_cpu(side.text) for m, side in sides.items()})


def open_site(work: Path, source: Path) -> None:
    """Let a folder show the pretrained towers of `source`, and the features that its stages left: by links,
    so that what is replaced here stays there."""
    stages = work / "stages"
    (stages / "features").mkdir(parents=True, exist_ok=True)
    towers = stages / "pretrain"
    if not towers.is_symlink():
        towers.symlink_to((source / "stages" / "pretrain").resolve(), target_is_directory=True)
    for path in sorted((source / "stages" / "features").glob("*.safetensors")):
        link = stages / "features" / path.name
        if not link.is_symlink() and not link.exists():
            link.symlink_to(path.resolve())
