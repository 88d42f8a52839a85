"""Made-up examples whose answers are known: two modalities, embeddings of two dimensions that matter."""

import copy
from pathlib import Path

import numpy as np
import pytest

from m3bind.data.captions import caption_pool, state_matrix
from m3bind.data.catalogue import findings_of
from m3bind.data.examples import Example
from m3bind.evaluate.embedded import Data, Embedded, Rows, says_what_is
from m3bind.metrics import resampled_weights

DATASETS = {"ct": "iq_othnccd", "pathology": "lc25000"}
SICK = {"ct": ("malignant_tumour",), "pathology": ("adenocarcinoma", "lung_adenocarcinoma")}


def examples_of(modality, sick, split="val"):
    """One example per entry of `sick` (1 malignant, 0 normal), two of each group."""
    found, ids = [], [f.id for f in findings_of(modality)]
    for i, ill in enumerate(sick):
        labels = dict.fromkeys(ids, 0)
        labels |= {f"{modality}.{name}": int(ill) for name in SICK[modality]}
        name = Path(f"{modality}-{split}-{i}.png")
        found.append(Example(modality, DATASETS[modality], name, "slide", split, f"{split}:{i // 2}", labels))
    return found


def data_of(modality, sick):
    ids = [f.id for f in findings_of(modality)]
    rows = {s: Rows.of(examples_of(modality, sick, s), ids) for s in ("val", "calib", "train")}
    illnesses = [f.id for f in findings_of(modality) if f.illness]
    captions = tuple(c for c in caption_pool(modality) if says_what_is(c, illnesses))
    weights = resampled_weights(rows["val"].groups, 40, seed=0)
    specs = findings_of(modality)
    return Data(modality, specs, rows["val"], rows["calib"], rows["train"], captions, weights)


def embedded_of(data, sick, noise, random, turned=1.0):
    """Malignant points lie on one side of the first axis, normal ones on the other, around a mean of the
    modality's own; `turned` -1 swaps the sides of images, not of texts."""

    def unit(values):
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    def images():
        points = random.normal(size=(len(sick), 8)) * noise
        points[:, 0] += turned * (2.0 * sick - 1.0)
        points[:, 1] += 2.0 if data.modality == "ct" else -2.0
        return unit(points)

    ids = data.val.ids
    towards = np.zeros((len(ids), 2, 8))
    for i, identifier in enumerate(ids):
        ill = identifier.split(".")[1] in SICK[data.modality]
        towards[i, 0, 0], towards[i, 1, 0 if ill else 7] = -1.0, 1.0
    states = state_matrix(data.captions, ids)
    sick_ids = [i for i, name in enumerate(ids) if name.split(".")[1] in SICK[data.modality]]
    captions = random.normal(size=(len(states), 8)) * 0.01
    captions[(states[:, sick_ids] == 1).any(axis=1), 0] += 1.0
    captions[(states[:, sick_ids] == 0).any(axis=1), 0] -= 1.0
    captions[:, 7] += (states[:, sick_ids] < 0).all(axis=1)
    anchors = {identifier: towards[i] for i, identifier in enumerate(ids)}
    return Embedded(images(), images(), images(), anchors, unit(captions))


@pytest.fixture
def sick():
    return np.tile([0, 1, 1, 0], 12)


@pytest.fixture(scope="session")
def both():
    """Made once: reading the catalogue takes a while."""
    return {m: data_of(m, np.tile([0, 1, 1, 0], 12)) for m in DATASETS}


@pytest.fixture(scope="session")
def worlds(both):
    """(data, embedded, the same turned), for whoever does not change them."""
    random, sick = np.random.default_rng(0), np.tile([0, 1, 1, 0], 12)
    seen = {m: embedded_of(d, sick, 0.05, random) for m, d in both.items()}
    turned = {**seen, "pathology": embedded_of(both["pathology"], sick, 0.05, random, turned=-1.0)}
    return both, seen, turned


@pytest.fixture
def world(worlds):
    """(data, embedded), bound: both modalities turn the same side to malignancy."""
    data, seen, _ = copy.deepcopy(worlds)
    return data, seen


@pytest.fixture
def apart(worlds):
    """The same with pathology's images turned around: each modality agrees with itself only."""
    data, _, turned = copy.deepcopy(worlds)
    return data, turned
