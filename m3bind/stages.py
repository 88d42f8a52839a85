"""The stages over files: what each reads, what it leaves, and when it need not be done again.

    stages/pretrain/  image-, text-<modality>.safetensors, <modality>.json
    stages/features/  pooled features of the examples, for towers that change no more
    stages/bind/      image-, text-<modality>.safetensors, bind.json
    stages/distil/    distil.json (its weights are the checkpoint)
    logs/<stage>/     losses.csv, curves for TensorBoard
    state/            snapshots of stages under way, and locks

A stage that is done with the same recipe, data and towers before it is not done again.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from dicom_node.errors import ConfigError
from m3bind.bind import Side, bind_towers
from m3bind.checkpoint import (
    BoundModel,
    load_side_towers,
    make_student,
    save_checkpoint,
    save_side_towers,
)
from m3bind.commit import commit_of_code
from m3bind.config import Recipe, StopRecipe
from m3bind.data.captions import Caption, shared_captions, training_captions
from m3bind.data.examples import Example, Split, examples
from m3bind.data.features import seed_of
from m3bind.data.sides import FixedFeatures, ImageSide, fix_features, image_side
from m3bind.data.sources import LICENCES
from m3bind.data.texts import TextBank, banks_of
from m3bind.digest import bind_digest, code_digest, distil_digest, features_digest, pretrain_digest
from m3bind.distil import distil_student, start_projection, teach
from m3bind.durable import write_durably
from m3bind.held_out import HeldOut
from m3bind.loop import Outcome, Progress, Workplace, set_up, workplace
from m3bind.pretrain import pretrain_pair
from m3bind.snapshot import Keeper
from m3bind.team import Team, alone
from m3bind.towers.base import TextTowerBase, VisualTower
from m3bind.towers.text import minilm_tokenizer

TRAINING = ("pretrain", "bind", "distil")
"""The stages, in their order."""


@dataclass(frozen=True, eq=False)
class Site:
    """One recipe, the folder that its checkpoint grows in, and who works there."""

    recipe: Recipe
    work: Path
    cache: Path
    """Of what is computed once for all checkpoints."""
    progress: Progress
    team: Team
    resume: bool = True
    """Go on from the snapshot of a stage that was killed."""
    fresh: bool = False
    """Do a stage again although it is done."""

    def stage(self, name: str) -> Path:
        """Folder of what a stage left."""
        return self.work / "stages" / name

    def keeper(self, name: str, digest: str) -> Keeper:
        """Of one stage (of one modality)."""
        machine = self.recipe.machine
        state = self.work / "state" / f"{name}.safetensors"
        return Keeper(state, self.work / "logs" / name, digest, machine.snapshot, machine.tensorboard)

    def place(self, keeper: Keeper) -> Workplace:
        """Where that stage is done."""
        return workplace(self.recipe.machine, self.progress, self.team, keeper)


def site(
    recipe: Recipe, work: Path, cache: Path, progress: Progress, team: Team | None = None, **how: bool
) -> Site:
    """Alone, on the recipe's device, unless a team is given."""
    return Site(recipe, work, cache, progress, team or alone(recipe.machine.device), **how)


@contextmanager
def _locked(here: Site, name: str) -> Iterator[None]:
    """One process at a time does a stage: what a killed run left running is waited for."""
    if not here.team.first:
        yield
        return
    path = here.work / "state" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            here.progress(f"{name}: waiting for another process that does it in {here.work}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _begin(here: Site, record: Path, name: str, digest: str) -> Keeper | None:
    """The keeper of a stage that is to be done; None where it is done already."""
    told, code = _read(record), code_digest()
    here.team.wait()
    if told.get("digest") == digest and not here.fresh:
        by = "" if told.get("code") == code else ", BY OTHER CODE"
        here.progress(f"{name}: already done with this recipe{by} (--fresh does it again)")
        return None
    keeper = here.keeper(name.replace(" ", "-"), f"{digest} {code}")
    if here.team.first and (here.fresh or not here.resume):
        keeper.clear()
    here.team.wait()
    set_up(here.recipe.seed, here.recipe.threads)
    return keeper


def _end(here: Site, record: Path, keeper: Keeper, outcome: Outcome, began: float) -> None:
    """Weights are on disk: now, and not before, the stage is done."""
    if here.team.first:
        digest, code = keeper.digest.split()
        told = {
            "digest": digest,
            "code": code,
            "wall_seconds": round(time.monotonic() - began, 1),
            **asdict(outcome),
        }
        write_durably(record, (json.dumps(told, indent=2) + "\n").encode())
        keeper.clear()
    here.team.wait()


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text("utf-8"))) if path.is_file() else {}


def pretrain(here: Site, modalities: Sequence[str] = ()) -> None:
    """The named modalities (all where none is named). They do not depend on each other.

    Raises ConfigError for one that the recipe lacks.
    """
    if strange := [name for name in modalities if name not in here.recipe.modalities]:
        raise ConfigError(
            f"The recipe has no modality {', '.join(strange)}, only {', '.join(here.recipe.modalities)}."
        )
    for modality in modalities or tuple(here.recipe.modalities):
        with _locked(here, f"pretrain-{modality}"):
            _pretrain_one(here, modality)


def _pretrain_one(here: Site, modality: str) -> None:
    began, folder = time.monotonic(), here.stage("pretrain")
    digest = pretrain_digest(here.recipe, modality)
    keeper = _begin(here, folder / f"{modality}.json", f"pretrain {modality}", digest)
    if keeper is None:
        return
    tower, text, outcome = pretrain_pair(here.recipe, modality, here.cache, here.place(keeper))
    if here.team.first:
        save_side_towers(modality, tower, text, folder)
    if not tower.lora_targets:
        # Here, where several modalities may be trained at once, rather than where all meet.
        for split in _splits(here.recipe.bind.stop, here.recipe.distil.stop):
            features(here, modality, tower, split)
    _end(here, folder / f"{modality}.json", keeper, outcome, began)


def _splits(*stops: StopRecipe | None) -> list[Split]:
    return ["train", *sorted({stop.split for stop in stops if stop is not None})]


def features(here: Site, modality: str, tower: VisualTower, split: Split) -> ImageSide:
    """Images of a tower whose body changes no more, from disk where it is the same body."""
    recipe = here.recipe
    views = recipe.bind.views if split == "train" else 0
    folder, head = here.stage("features"), f"{modality}-{split}-"
    path = folder / f"{head}{features_digest(recipe, modality, tower, views)}.safetensors"
    if not path.is_file() and here.team.first:
        side, found = image_side(recipe, modality, tower, split, here.cache, here.progress)
        with workplace(recipe.machine, here.progress, here.team, None).cast():
            fixed = fix_features(side, len(found), views, np.random.default_rng(seed_of(recipe, modality)))
        for old in folder.glob(f"{head}*.safetensors"):
            old.unlink()
        write_durably(path, save({"features": fixed.cpu().contiguous()}))
    here.team.wait()
    return FixedFeatures(load_file(path)["features"].to(here.team.device))


def _images(here: Site, modality: str, tower: VisualTower, split: Split, live: bool) -> ImageSide:
    """As they come through a tower that may change, or that changes no more."""
    if not live:
        return features(here, modality, tower, split)
    with here.team.first_then_others():
        return image_side(here.recipe, modality, tower, split, here.cache, here.progress)[0]


def _sides(here: Site, before: str, stop: StopRecipe | None, live: bool) -> dict[str, Side]:
    """All modalities as the stage `before` left them; `live`: adapters will change image towers too."""
    towers = {m: load_side_towers(here.recipe, m, here.stage(before)) for m in here.recipe.modalities}
    for pair in towers.values():
        for tower in pair:
            tower.to(here.team.device)
    captions = {m: training_captions(m) + shared_captions(m) for m in towers}
    texts = [c.text for pool in captions.values() for c in pool]
    with workplace(here.recipe.machine, here.progress, here.team, None).cast():
        banks = banks_of(texts, {m: pair[1] for m, pair in towers.items()})
    sides: dict[str, Side] = {}
    first = 0
    for modality, (tower, text) in towers.items():
        found = examples(here.recipe, modality, "train")
        changes = live and bool(tower.lora_targets)
        images = _images(here, modality, tower, "train", changes)
        balance = here.recipe.modalities[modality].balance
        bank = banks[modality]
        side = Side(tower, text, images, found, captions[modality], first, bank, balance=balance)
        sides[modality] = side
        if stop is not None:
            sides[modality] = replace(side, watched=_watched(here, modality, side, text, stop, changes))
        first += len(captions[modality])
    return sides


def _watched(
    here: Site, modality: str, side: Side, text: TextTowerBase, stop: StopRecipe, live: bool
) -> tuple[ImageSide, HeldOut, int]:
    held: Sequence[Example] = examples(here.recipe, modality, stop.split)
    captions: Sequence[Caption] = side.captions
    images = _images(here, modality, side.tower, stop.split, live)
    return images, HeldOut(held, captions, text), len(held)


def bind(here: Site) -> None:
    """From stages/pretrain to stages/bind."""
    with _locked(here, "bind"):
        began, folder = time.monotonic(), here.stage("bind")
        keeper = _begin(here, folder / "bind.json", "bind", bind_digest(here.recipe, here.stage("pretrain")))
        if keeper is None:
            return
        sides = _sides(here, "pretrain", here.recipe.bind.stop, live=True)
        outcome = bind_towers(sides, here.recipe.bind, here.recipe.seed, here.place(keeper))
        if here.team.first:
            for modality, side in sides.items():
                save_side_towers(modality, side.tower, side.text, folder)
        _end(here, folder / "bind.json", keeper, outcome, began)


def distil(here: Site) -> None:
    """From stages/bind to the checkpoint."""
    recipe = here.recipe
    with _locked(here, "distil"):
        began, record = time.monotonic(), here.stage("distil") / "distil.json"
        keeper = _begin(here, record, "distil", distil_digest(recipe, here.stage("bind")))
        if keeper is None:
            return
        place = here.place(keeper)
        sides = _sides(here, "bind", None, live=False)
        student = make_student(recipe).to(here.team.device)
        with place.cast():
            bank = TextBank(next(iter(sides.values())).bank.texts, student)
        if (stop := recipe.distil.stop) is not None:
            sides = {
                m: replace(s, watched=_watched(here, m, s, student, stop, live=False))
                for m, s in sides.items()
            }
        torch.manual_seed(recipe.seed)
        with place.cast():
            taught = teach(sides)
        start_projection(bank, student, taught[1])  # least squares need all their digits
        outcome = distil_student(student, bank, sides, recipe.distil, recipe.seed, place, taught)
        if here.team.first:
            _save(recipe, sides, student, here.work)
        _end(here, record, keeper, outcome, began)


def _save(recipe: Recipe, sides: dict[str, Side], student: TextTowerBase, work: Path) -> None:
    names = [name for part in recipe.modalities.values() for name in part.datasets]
    images = {modality: side.tower for modality, side in sides.items()}
    data = tuple(LICENCES[name] for name in names)
    tokenizer = minilm_tokenizer(recipe.text.max_tokens)
    save_checkpoint(BoundModel(recipe, images, student, tokenizer, commit_of_code(), data), work)


def note_time(work: Path, stage: str, seconds: float) -> None:
    """Wall time of a stage of `m3bind run`, beside the weights in timings.json."""
    told = _read(work / "timings.json") | {stage: round(seconds, 1)}
    write_durably(work / "timings.json", (json.dumps(told, indent=2) + "\n").encode())
