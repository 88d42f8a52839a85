"""Ablations: bind and distil again from the same pretrained towers with one setting changed, and measure.

    weight    lambda, before the alignment loss
    rank      of the adapters; 0 trains projections alone
    student   layers and width of the text encoder that stands for all

Fewer steps than the recipe's, so that all of it takes minutes: rows are compared with each other. A student
starts from the binding of the recipe's own row, for no setting of the student changes stage 1.

    rows/<name>.json    a finished row; one that is there for the same towers, data, code and settings stands
    ablation.json       all of them
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dicom_node.errors import ConfigError
from m3bind.checkpoint import read_config
from m3bind.config import Recipe
from m3bind.data.groups import load_groups
from m3bind.digest import code_digest, distil_digest
from m3bind.durable import write_durably
from m3bind.evaluate.bench import Bench, bind, distil, open_bench, open_site, seen_by, teaching
from m3bind.evaluate.cross_modal import GALLERIES, KINDS, REPEATS, cross_modal
from m3bind.evaluate.embedded import Data, embed, load_data
from m3bind.evaluate.report import plain
from m3bind.evaluate.systems import UNBOUND, System, stage_system
from m3bind.evaluate.zero_shot import Scored, difference, zero_shot
from m3bind.loop import Progress, set_up
from m3bind.stages import Site, features, site

FORMAT = 2
WHAT = ("weight", "rank", "student")
FACTORS = (0.0, 1.0, 4.0)
"""Of the recipe's alignment weight."""
RANKS = (0, 2, 8)
STUDENTS: tuple[tuple[tuple[int, ...], int, int], ...] = (
    ((0, 5), 1, 384),
    ((0, 1, 3, 5), 2, 192),
    ((0, 1, 3, 5), 2, 384),
    ((0, 1, 2, 3, 4, 5), 3, 384),
)
"""Layers of MiniLM that a student starts from, how many of them stay frozen, and its width (at another than
MiniLM's 384 its layers start at random)."""
STANDARD = "standard"
"""Name of the row of the recipe's own settings."""

Scores = Mapping[str, Mapping[str, Scored]]
"""Zero-shot draws by modality and finding."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: what is varied, its value in words, and the recipe with it."""

    what: str
    value: str
    recipe: Recipe
    standard: bool
    """Whether it is the recipe's own value."""

    @property
    def title(self) -> str:
        """For people."""
        return "the recipe's own settings" if self.standard else f"{self.what} {self.value}"

    @property
    def name(self) -> str:
        """Of the file of its row."""
        return STANDARD if self.standard else f"{self.what}-{self.value.replace(' ', '-').replace(',', '')}"


def shortened(recipe: Recipe, bind_steps: int, distil_steps: int) -> Recipe:
    """The recipe with at most these steps, no early stop, and no more bootstrap samples than retrieval across
    modalities has in any case. The warm-up stays: at the full rate from its first step on, a student forgets
    what least squares gave it, and a few steps do not bring it back."""
    bound = recipe.bind.model_copy(update={"steps": min(recipe.bind.steps, bind_steps), "stop": None})
    steps = min(recipe.distil.steps, distil_steps)
    distilled = recipe.distil.model_copy(update={"steps": steps, "stop": None})
    evaluate = recipe.evaluate.model_copy(update={"bootstrap": min(recipe.evaluate.bootstrap, REPEATS)})
    return recipe.model_copy(update={"bind": bound, "distil": distilled, "evaluate": evaluate})


def _weights(recipe: Recipe) -> list[Variant]:
    found = []
    for value in sorted({recipe.bind.weight * f for f in FACTORS}):
        own = value == recipe.bind.weight
        bound = recipe.bind.model_copy(update={"weight": value})
        changed = recipe if own else recipe.model_copy(update={"bind": bound})
        found.append(Variant("weight", f"{value:g}", changed, own))
    return found


def _ranks(recipe: Recipe) -> list[Variant]:
    """The paper scales adapters by alpha / rank with alpha = rank: so does every row."""
    found = []
    for rank in sorted({*RANKS, recipe.bind.rank}):
        own = rank == recipe.bind.rank
        bound = recipe.bind.model_copy(update={"rank": rank, "alpha": rank or recipe.bind.alpha})
        changed = recipe if own else recipe.model_copy(update={"bind": bound})
        found.append(Variant("rank", str(rank), changed, own))
    return found


def _students(recipe: Recipe) -> list[Variant]:
    text = recipe.text
    mine = (text.student_layers, text.student_frozen, text.student_width)
    sizes = {(len(layers), width): (layers, frozen, width) for layers, frozen, width in STUDENTS}
    sizes[len(mine[0]), mine[2]] = mine
    found = []
    for (depth, width), own in sorted(sizes.items()):
        names = ("student_layers", "student_frozen", "student_width")
        changed = text.model_copy(update=dict(zip(names, own, strict=True)))
        told = recipe if own == mine else recipe.model_copy(update={"text": changed})
        found.append(Variant("student", f"{depth} layers, {width} wide", told, own == mine))
    return found


def variants(recipe: Recipe, what: str) -> list[Variant]:
    """Every row of one kind, the recipe's own value among them. Raises ConfigError for an unknown kind."""
    kinds = {"weight": _weights, "rank": _ranks, "student": _students}
    if what not in kinds:
        raise ConfigError(f"Nothing called {what!r} can be varied: {', '.join(WHAT)}.")
    return kinds[what](recipe)


def measure(
    recipe: Recipe, system: System, data: Mapping[str, Data], cache: Path, unbound: Scores | None
) -> tuple[dict[str, Any], Scores]:
    """The figures that rows are compared by, and the draws of zero-shot; `kept` beside `unbound`."""
    seen = embed(recipe, system, data, cache, _silent, shots=False)
    scored = {m: zero_shot(d, seen[m], recipe.evaluate.min_positives) for m, d in data.items()}
    draws = {m: drawn for m, (_, drawn) in scored.items()}
    kept = {m: difference(draws[m], unbound[m]) for m in draws} if unbound is not None else {}
    across = cross_modal(seen, data, load_groups(), KINDS[:1], GALLERIES[:1])[0][KINDS[0]][GALLERIES[0]]
    texts = {id(t): t for t in system.texts.values()}.values()
    told = {
        "zero_shot": {m: figures["macro"] for m, (figures, _) in scored.items()},
        "kept": {m: None if k is None else k["kept"] for m, k in kept.items()},
        "cross_modal": across,
        "text_megabytes": sum(p.numel() for t in texts for p in t.parameters()) * 4 / 1e6,
    }
    return told, draws


def _silent(_: str) -> None:
    """What is computed once is told of elsewhere."""


@dataclass(frozen=True, slots=True)
class Job:
    """Rows that one process does, one after the other: each binding with all that is distilled from it."""

    source: Recipe
    """The recipe that all rows vary, shortened."""
    folder: Path
    cache: Path
    bindings: tuple[tuple[Variant, ...], ...]
    """Rows of one binding, which is that of the first."""
    keys: Mapping[str, str]
    """By row: what must be the same for a finished one to stand."""
    unbound: Scores


def _row_path(out: Path, name: str) -> Path:
    return out / "rows" / f"{name}.json"


def base_key(recipe: Recipe, source: Path) -> str:
    """Of what all rows share: towers, data and captions, code, the recipe that they vary."""
    return f"{FORMAT} {code_digest()} {distil_digest(recipe, source / 'stages' / 'pretrain')}"


def row_key(base: str, recipe: Recipe) -> str:
    """Of what one row is made by."""
    return hashlib.sha256(f"{base} {recipe.model_dump_json()}".encode()).hexdigest()


def finished(out: Path, name: str, key: str) -> dict[str, Any] | None:
    """The figures of a row that was done with this key; None where there are none."""
    path = _row_path(out, name)
    if not path.is_file():
        return None
    told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return told["figures"] if told.get("key") == key else None


def keep(out: Path, name: str, key: str, figures: Mapping[str, Any]) -> None:
    """Write a row that is done."""
    told = plain({"format": FORMAT, "key": key, "figures": dict(figures)})
    write_durably(_row_path(out, name), (json.dumps(told, indent=1, allow_nan=False) + "\n").encode())


def work_through(job: Job, out: Path, progress: Progress) -> None:
    """Do all rows of a job; each is written as soon as it is measured."""
    set_up(job.source.seed, job.source.threads)
    data = {m: load_data(job.source, m) for m in job.source.modalities}
    bench = open_bench(site(job.source, job.folder, job.cache, progress))
    for rows in job.bindings:
        _bind_and_distil(bench, rows, data, job, out, progress)


def _bind_and_distil(
    bench: Bench, rows: Sequence[Variant], data: Mapping[str, Data], job: Job, out: Path, progress: Progress
) -> None:
    began = time.process_time()
    progress(f"binding: {rows[0].title}")
    sides = bind(bench, rows[0].recipe)
    taught = teaching(bench, sides)
    bound, _ = measure(rows[0].recipe, seen_by(sides), data, job.cache, job.unbound)
    binding = time.process_time() - began
    for row in rows:
        began = time.process_time()
        student = distil(bench, row.recipe, sides, taught)
        distilled, _ = measure(row.recipe, seen_by(sides, student), data, job.cache, job.unbound)
        figures = {
            "bound": bound,
            "distilled": distilled,
            "seconds": {"bind": round(binding, 1), "distil": round(time.process_time() - began, 1)},
        }
        keep(out, row.name, job.keys[row.name], figures)
        spent = figures["seconds"]
        progress(
            f"{row.title}: bound in {spent['bind']} s of the processor, distilled in {spent['distil']} s"
        )


def dealt(missing: Sequence[Variant], jobs: int) -> list[list[tuple[Variant, ...]]]:
    """Bindings for each of at most `jobs` processes, the longest dealt first to whoever has least: students
    go with the recipe's own row, whose binding they share."""
    together = tuple(v for v in missing if v.standard or v.what == "student")
    bindings = [together] if together else []
    bindings += [(v,) for v in missing if v not in together]
    hands: list[list[tuple[Variant, ...]]] = [[] for _ in range(min(jobs, len(bindings)))]
    for binding in sorted(bindings, key=len, reverse=True):
        least = min(hands, key=lambda hand: sum(1 + len(b) for b in hand))
        least.append(binding)
    return hands


def _prepare(here: Site, source: Path) -> None:
    """Features of images whose towers no row changes, made once before several processes want them."""
    open_site(here.work, source)
    towers = stage_system(here.recipe, UNBOUND, here.stage("pretrain")).images
    for modality, tower in towers.items():
        if not tower.lora_targets:
            features(here, modality, tower.to(here.team.device), "train")


def _do(jobs: Sequence[Job], out: Path, progress: Progress) -> None:
    if len(jobs) == 1:
        work_through(jobs[0], out, progress)
        return
    with ProcessPoolExecutor(len(jobs), mp_context=get_context("spawn")) as pool:
        for task in [pool.submit(work_through, job, out, progress) for job in jobs]:
            task.result()


def ablate(
    recipe: Recipe,
    source: Path,
    what: Sequence[str],
    out: Path,
    cache: Path,
    progress: Progress,
    command: str,
    jobs: int = 1,
) -> dict[str, Any]:
    """Every row of every kind from the towers in `source`/stages/pretrain, `jobs` processes at a time (then
    `progress` must be a function of a module); writes `out`/ablation.json.

    Raises ConfigError for an unknown kind, or where there are no towers.
    """
    planned = [v for kind in what for v in variants(recipe, kind)]
    if not (source / "stages" / "pretrain").is_dir():
        raise ConfigError(f"{source} has no pretrained towers: run `m3bind pretrain` first.")
    base = base_key(recipe, source)
    rows = {v.name: v for v in planned}
    keys = {name: row_key(base, v.recipe) for name, v in rows.items()}
    missing = [v for v in rows.values() if finished(out, v.name, keys[v.name]) is None]
    for name in sorted(rows.keys() - {v.name for v in missing}):
        progress(f"{name}: already done with these towers and settings")
    (out / "rows").mkdir(parents=True, exist_ok=True)
    if missing or finished(out, UNBOUND, base) is None:
        _measure_all(recipe, source, missing, out, cache, keys, base, progress, jobs)
    told = {
        "format": FORMAT,
        "command": command,
        "recipe": {"name": recipe.name, "version": recipe.version},
        "commit": _commit(source),
        "steps": {"bind": recipe.bind.steps, "distil": recipe.distil.steps},
        "unbound": finished(out, UNBOUND, base),
        "runs": [
            {
                "what": v.what,
                "value": v.value,
                "recipe": v.standard,
                **(finished(out, v.name, keys[v.name]) or {}),
            }
            for v in planned
        ],
    }
    (out / "ablation.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    return told


def _commit(source: Path) -> str | None:
    """Of the code that trained the checkpoint; None where stage 2 has not made one yet."""
    return str(read_config(source)["commit"]) if (source / "config.json").is_file() else None


def _measure_all(
    recipe: Recipe,
    source: Path,
    missing: Sequence[Variant],
    out: Path,
    cache: Path,
    keys: Mapping[str, str],
    base: str,
    progress: Progress,
    jobs: int,
) -> None:
    """The unbound towers, then the missing rows."""
    here = site(recipe, out, cache, progress)
    _prepare(here, source)
    data = {m: load_data(recipe, m) for m in recipe.modalities}
    towers = stage_system(recipe, UNBOUND, here.stage("pretrain"))
    unbound, draws = measure(recipe, towers, data, cache, None)
    keep(out, UNBOUND, base, unbound)
    work = []
    for number, bindings in enumerate(dealt(missing, jobs)):
        folder = out / f"job-{number}"
        open_site(folder, out)
        work.append(Job(recipe, folder, cache, tuple(bindings), keys, draws))
    if work:
        _do(work, out, progress)
