"""What decides a stage, in one number: a finished stage stands only where recipe, labels, captions and the
weights of the stage before are the same. A snapshot is gone on with only where the code is the same, too; a
finished stage made by other code stands, and that is told: code changes more often than what it does."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from m3bind.config import Recipe
from m3bind.data.captions import shared_captions, training_captions
from m3bind.data.examples import examples
from m3bind.data.groups import load_groups
from m3bind.towers.base import VisualTower

PACKAGE = Path(__file__).parent
CODE = (
    *("bind.py", "checkpoint.py", "config.py", "distil.py", "held_out.py", "loop.py", "losses.py"),
    *("pretrain.py", "stages.py", "team.py", "data/*.py", "towers/*.py"),
)
"""What takes part in training, relative to this package."""


def code_digest(package: Path = PACKAGE, patterns: Sequence[str] = CODE) -> str:
    """Of what the code says: comments, documentation and layout do not count."""
    digest = hashlib.sha256()
    for path in sorted({p for pattern in patterns for p in package.glob(pattern)}):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            if isinstance(body, list):
                node.body = [b for b in body if not _is_documentation(b)]  # type: ignore[attr-defined]
        digest.update(f"{path.relative_to(package)}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def _is_documentation(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def data_digest(recipe: Recipe, modality: str) -> str:
    """Of names, splits and labels of a modality's examples, and of its captions."""
    told = [
        [e.dataset, e.path.name, e.split, e.group, dict(e.labels)] for e in examples(recipe, modality)
    ] + [[c.text, dict(c.states)] for c in training_captions(modality)]
    return _digest(told)


def pretrain_digest(recipe: Recipe, modality: str) -> str:
    """Of one modality's first stage."""
    return _digest(
        {
            **_common(recipe),
            "modality": recipe.modalities[modality].model_dump(mode="json"),
            "settings": recipe.pretrain_of(modality).model_dump(mode="json"),
            "data": data_digest(recipe, modality),
        }
    )


def bind_digest(recipe: Recipe, before: Path) -> str:
    """Of stage 1; `before` is the folder that pretraining left."""
    return _digest(
        {
            **_common(recipe),
            "before": _weights(before),
            "data": {m: data_digest(recipe, m) for m in recipe.modalities},
            "groups": {g.id: sorted(g.findings) for g in load_groups()},
            "shared": {m: [[c.text, dict(c.states)] for c in shared_captions(m)] for m in recipe.modalities},
            "modalities": {m: part.model_dump(mode="json") for m, part in recipe.modalities.items()},
            "settings": recipe.bind.model_dump(mode="json"),
        }
    )


def distil_digest(recipe: Recipe, before: Path) -> str:
    """Of stage 2; `before` is the folder that binding left."""
    return _digest(
        {
            "bind": bind_digest(recipe, before),
            "text": recipe.text.model_dump(mode="json"),
            "settings": recipe.distil.model_dump(mode="json"),
        }
    )


def features_digest(recipe: Recipe, modality: str, tower: VisualTower, views: int) -> str:
    """Of the features of a tower: all of it but its projection, and the views that it is shown."""
    projection = {id(value) for value in tower.projection.state_dict(keep_vars=True).values()}
    body = {
        name: value.detach().cpu()
        for name, value in tower.state_dict(keep_vars=True).items()
        if id(value) not in projection
    }
    weights = hashlib.sha256(save({k: v.contiguous() for k, v in body.items()})).hexdigest()
    return _digest(
        {
            "weights": weights,
            "views": views,
            "seed": recipe.seed,
            "data": data_digest(recipe, modality),
            "modality": recipe.modalities[modality].model_dump(mode="json", exclude={"pretrain", "steps"}),
            "machine": recipe.machine.precision,
        }
    )[:24]


def _weights(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.safetensors"))
    }


def _common(recipe: Recipe) -> dict[str, Any]:
    machine = recipe.machine.model_dump(mode="json", exclude={"snapshot", "tensorboard"})
    text = recipe.text.model_dump(mode="json", exclude={"student_layers", "student_frozen", "student_width"})
    return {
        "seed": recipe.seed,
        "threads": recipe.threads,
        "dimension": recipe.dimension,
        "machine": machine,
        "text": text,
    }


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
