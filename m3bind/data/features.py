"""What is frozen is computed once: the maps of the lower image blocks, kept on disk.

The key of a cache file covers all that decides its content: the names and bytes of the files, the
preprocessing operations, the augmentation, what both make of a first example, the seed, and the frozen
weights.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from dicom_node.pixels.ops import compile_operations
from m3bind.config import ImageTowerRecipe, ModalityRecipe, Recipe
from m3bind.data.augment import augment_image
from m3bind.data.examples import Example, file_digest
from m3bind.loop import Progress, half_precision
from m3bind.towers.base import VisualTower
from m3bind.towers.tables import LoadedTowerRecipe

BATCH = 32


def inputs(part: ModalityRecipe, found: Sequence[Example]) -> NDArray[np.float32]:
    """Every example as the encoder sees it, (N, *input_shape)."""
    step = compile_operations(part.preprocess)
    return np.stack([step(example.load()).values for example in found])


def _sample_digest(part: ModalityRecipe, found: Sequence[Example], variants: int, seed: int) -> str:
    """What preprocessing and augmentation make of the first example today: it changes when they do."""
    step, patch = compile_operations(part.preprocess), found[0].load()
    digest = hashlib.sha256(np.round(step(patch).values, 3).tobytes())
    if variants > 1:
        shown = augment_image(patch, part.augment, np.random.default_rng(seed))
        digest.update(np.round(step(shown).values, 3).tobytes())
    return digest.hexdigest()


def _key(part: ModalityRecipe, found: Sequence[Example], variants: int, seed: int, tower: VisualTower) -> str:
    weights = hashlib.sha256()
    for name, value in tower.lower.state_dict().items():
        weights.update(name.encode())
        weights.update(value.numpy().tobytes())
    facts = {
        "files": [[e.dataset, e.path.name, file_digest(e.path)] for e in found],
        "reader": part.reader,
        "preprocess": [o.model_dump(mode="json") for o in part.preprocess],
        "augment": part.augment if variants > 1 else {},
        "variants": variants,
        "seed": seed if variants > 1 else 0,
        "weights": weights.hexdigest(),
        "sample": _sample_digest(part, found, variants, seed),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def lower_maps(
    part: ModalityRecipe,
    found: Sequence[Example],
    tower: VisualTower,
    *,
    variants: int,
    seed: int,
    cache: Path,
    name: str,
    progress: Progress,
) -> Tensor:
    """(V, N, C, h, w) float16: what the frozen blocks make of each example; variant 0 is the plain image, the
    others are augmented."""
    path = cache / f"{name}-{_key(part, found, variants, seed, tower)}.npy"
    if not path.is_file():
        progress(f"{name}: {variants} x {len(found)} images through the frozen blocks")
        maps = _compute(part, found, tower, variants, seed)
        cache.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, maps)
        partial.rename(path)
    return torch.from_numpy(np.load(path))


def _session(tower: VisualTower, part: ModalityRecipe) -> onnxruntime.InferenceSession:
    """The frozen blocks in ONNX Runtime: four to ten times faster than here on a CPU, the same numbers."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracing exporter announces its successor
        path = Path(folder) / "lower.onnx"
        torch.onnx.export(
            tower.lower,
            (torch.zeros(1, *part.input_shape),),
            path,
            dynamo=False,
            input_names=["pixels"],
            output_names=["map"],
            dynamic_axes={"pixels": {0: "n"}, "map": {0: "n"}},
        )
        graph = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Waiting threads sleep: a spinning one takes the core from whoever else works on this machine.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def _compute(
    part: ModalityRecipe, found: Sequence[Example], tower: VisualTower, variants: int, seed: int
) -> NDArray[np.float16]:
    step, session = compile_operations(part.preprocess), _session(tower, part)
    random = np.random.default_rng(seed)
    rows: list[NDArray[np.float16]] = []
    for start in range(0, len(found), BATCH):
        patches = [example.load() for example in found[start : start + BATCH]]
        made = []
        for variant in range(variants):
            shown = patches if variant == 0 else [augment_image(p, part.augment, random) for p in patches]
            batch = np.stack([step(p).values for p in shown])
            made.append(session.run(None, {"pixels": batch})[0].astype(np.float16))
        rows.append(np.stack(made))
    return np.concatenate(rows, axis=1)


def pooled_features(tower: VisualTower, maps: Tensor) -> Tensor:
    """(N, C, h, w) float16 maps through the upper blocks: (N, 1280) float32."""
    with torch.inference_mode(), half_precision():
        parts = [tower.pooled(maps[i : i + 128].float()).float() for i in range(0, len(maps), 128)]
    return torch.cat(parts)


def variants_of(part: ModalityRecipe) -> int:
    """How many copies of each training image the recipe asks for."""
    return part.tower.variants if isinstance(part.tower, (ImageTowerRecipe, LoadedTowerRecipe)) else 1


def seed_of(recipe: Recipe, modality: str) -> int:
    """A seed of its own for each modality, so that adding one does not change the others."""
    return recipe.seed + zlib.crc32(modality.encode()) % 100_000
