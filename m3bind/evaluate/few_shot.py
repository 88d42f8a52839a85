"""Few-shot classification: k examples with a finding and k without it, k = 1 to 16, five draws.

linear probe     logistic regression on the k + k embeddings
Tip-Adapter      no training (Zhang et al., arXiv 2207.09519): the zero-shot logit plus what the k + k
                 embeddings vote, each with weight exp(-beta (1 - cosine))
Tip-Adapter-F    the same, the k + k keys then tuned for 20 steps as its authors do

Shots come from the training part, one of each patient before a second of any; the example without the finding
is of the same data set as the one with it. Each finding is a task of two classes; measured on val by AUC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn

from m3bind.evaluate.embedded import Data, Embedded, Rows
from m3bind.evaluate.zero_shot import Scored, has_both, macro_draws
from m3bind.metrics import Estimate, auc, auc_draws, interval

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHOTS = (1, 2, 4, 8, 16)
DRAWS = 5
MOST_REPEATS = 200
"""Bootstrap samples: each figure is the mean over five draws, which are five areas."""
SCALE = 20.0
"""Inverse temperature of the zero-shot logit: that of stage 1 (`m3bind/bind.py`)."""
ALPHA, BETA = 1.0, 5.5
"""Tip-Adapter's defaults. Its authors search both on a validation split; nothing is searched here."""
TUNING_STEPS, TUNING_RATE = 20, 1e-3
"""Tip-Adapter-F's epochs (here one step each) and learning rate, by its authors' code."""
METHODS = ("linear probe", "Tip-Adapter", "Tip-Adapter-F")


@dataclass(frozen=True, eq=False)
class Task:
    """One finding, and which rows of the pool each draw shows."""

    finding: str
    shots: Ints
    """(DRAWS, 2, 16): rows without the finding, then rows with it; the first k are the k shots."""


def _in_turn(rows: Ints, groups: Ints, random: np.random.Generator) -> Ints:
    """The rows in random order, one of each group before a second of any."""
    shuffled = random.permutation(rows)
    seen: dict[int, int] = {}
    turn = []
    for row in shuffled:
        turn.append(seen.get(int(groups[row]), 0))
        seen[int(groups[row])] = turn[-1] + 1
    return np.asarray(shuffled[np.argsort(np.asarray(turn), kind="stable")], dtype=np.int64)


def _draw(pool: Rows, labels: Ints, random: np.random.Generator) -> Ints | None:
    """(2, 16) rows; None where a class has too few."""
    most = max(SHOTS)
    without = list(_in_turn(np.flatnonzero(labels == 0), pool.groups, random))
    having = _in_turn(np.flatnonzero(labels == 1), pool.groups, random)[:most]
    if len(having) < most or len(without) < most:
        return None
    partners = []
    for row in having:
        same = [i for i, other in enumerate(without) if pool.sets[other] == pool.sets[row]]
        partners.append(without.pop(same[0] if same else 0))
    return np.stack([np.asarray(partners, dtype=np.int64), having])


def tasks_of(data: Data, fewest: int) -> list[Task]:
    """Every illness with 16 examples of either kind in the pool, and enough of them in val."""
    found = []
    for number, spec in enumerate(data.illnesses):
        if not has_both(data.val.label(spec.id), data.val.sets, fewest):
            continue
        random = np.random.default_rng(number)
        drawn = [_draw(data.pool, data.pool.label(spec.id), random) for _ in range(DRAWS)]
        kept = [d for d in drawn if d is not None]
        if len(kept) == DRAWS:
            found.append(Task(spec.id, np.stack(kept)))
    return found


def probe_scores(keys: Floats, values: Ints, queries: Floats) -> Floats:
    """(N,) log odds by logistic regression on keys (S, C) with values (S,) of 0 and 1."""
    fitted = LogisticRegression(C=1.0, max_iter=200).fit(keys, values)
    return np.asarray(fitted.decision_function(queries), dtype=np.float64)


def tip_scores(keys: Floats, values: Ints, queries: Floats, zero_shot: Floats) -> Floats:
    """(N,) zero-shot logit plus the cached votes; keys (S, D), values (S,), queries (N, D), margins (N,)."""
    votes = np.exp(-BETA * (1.0 - queries @ keys.T)) @ (2.0 * values - 1.0)
    return np.asarray(SCALE * zero_shot + ALPHA * votes)


def tuned_keys(keys: Floats, values: Ints, zero_shot: Floats) -> Floats:
    """Tip-Adapter-F: keys (T, S, D) of T tasks at once, tuned so that the shots themselves are told right;
    values (S,), zero_shot (T, S) margins of the shots."""
    shown = torch.from_numpy(keys).float()
    moving = nn.Parameter(shown.clone())
    votes = torch.from_numpy(2.0 * values - 1.0).float()
    truth = torch.from_numpy(values).float().expand(len(keys), -1)
    logits = SCALE * torch.from_numpy(zero_shot).float()
    optimizer = torch.optim.AdamW([moving], lr=TUNING_RATE, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, TUNING_STEPS)
    for _ in range(TUNING_STEPS):
        near = torch.exp(-BETA * (1.0 - shown @ moving.transpose(1, 2)))  # (T, S, S)
        said = logits + ALPHA * near @ votes
        # The mean over shots, the sum over tasks: tasks do not know of each other.
        loss = nn.functional.binary_cross_entropy_with_logits(said, truth, reduction="sum") / len(values)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        optimizer.step()
        schedule.step()
    return moving.detach().numpy().astype(np.float64)


def _scored(scores: Sequence[Floats], labels: Ints, data: Data) -> Scored:
    """Mean over draws of the AUC, and the same under every bootstrap sample."""
    known = labels >= 0
    truth, sets, weights = labels[known], data.val.sets[known], data.weights[:MOST_REPEATS, known]
    values = [auc(s[known], truth, sets) for s in scores]
    draws = np.mean([auc_draws(s[known], truth, sets, weights) for s in scores], axis=0)
    estimate = Estimate(float(np.mean(values)), *interval(draws), len(truth), int((truth == 1).sum()))
    return Scored(estimate, draws)


def _told(parts: Mapping[str, Scored], by_draw: Floats) -> dict[str, Any]:
    """Macro figure with its interval over patients; `by_draw` (DRAWS,) macro AUCs."""
    low, high = interval(macro_draws(list(parts.values())))
    value = float(np.mean([p.estimate.value for p in parts.values()]))
    by_finding = {
        i: {"value": p.estimate.value, "low": p.estimate.low, "high": p.estimate.high}
        for i, p in parts.items()
    }
    return {
        "value": value,
        "low": low,
        "high": high,
        "sd_of_draws": float(by_draw.std(ddof=1)),
        "findings": by_finding,
    }


def _by_draw(scores: Mapping[str, Sequence[Floats]], data: Data) -> Floats:
    """(DRAWS,) macro AUC of each draw."""
    rows = []
    for finding, each in scores.items():
        labels = data.val.label(finding)
        known = labels >= 0
        rows.append([auc(s[known], labels[known], data.val.sets[known]) for s in each])
    return np.asarray(np.mean(rows, axis=0), dtype=np.float64)


def _figure(scores: Mapping[str, Sequence[Floats]], data: Data) -> dict[str, Any]:
    parts = {i: _scored(s, data.val.label(i), data) for i, s in scores.items()}
    return _told(parts, _by_draw(scores, data))


def few_shot(data: Data, seen: Embedded, tasks: Sequence[Task]) -> dict[str, Any]:
    """Macro AUC by method and shots of one modality, as one system sees it."""
    told: dict[str, Any] = {method: {} for method in METHODS}
    if not tasks:
        return told
    for k in SHOTS:
        values = np.repeat([0, 1], k)
        rows = {t.finding: [d[:, :k].reshape(-1) for d in t.shots] for t in tasks}
        margins = {t.finding: seen.margins(t.finding, seen.val) for t in tasks}
        all_rows = np.concatenate([np.stack(r) for r in rows.values()])  # (T * DRAWS, 2k)
        shown = np.concatenate([seen.margins(i, seen.pool)[np.stack(r)] for i, r in rows.items()])
        tuned = tuned_keys(seen.pool[all_rows], values, shown)
        tuned_of = {i: tuned[n * DRAWS : (n + 1) * DRAWS] for n, i in enumerate(rows)}
        scores = {
            "linear probe": {
                i: [probe_scores(seen.pool[r], values, seen.val) for r in own] for i, own in rows.items()
            },
            "Tip-Adapter": {
                i: [tip_scores(seen.pool[r], values, seen.val, margins[i]) for r in own]
                for i, own in rows.items()
            },
            "Tip-Adapter-F": {
                i: [tip_scores(keys, values, seen.val, margins[i]) for keys in tuned_of[i]] for i in rows
            },
        }
        for method, own in scores.items():
            told[method][str(k)] = _figure(own, data)
    return told


def few_shot_probe(data: Data, pool: Floats, val: Floats, tasks: Sequence[Task]) -> dict[str, Any]:
    """The linear probe alone, on features that know no text: pool (P, C) and val (N, C), standardised by the
    pool."""
    mean, spread = pool.mean(axis=0), pool.std(axis=0) + 1e-6
    pool, val = (
        (pool - mean) / spread / np.sqrt(pool.shape[1]),
        (val - mean) / spread / np.sqrt(pool.shape[1]),
    )
    told: dict[str, Any] = {}
    if not tasks:
        return {"linear probe": told}
    for k in SHOTS:
        values = np.repeat([0, 1], k)
        scores = {
            t.finding: [probe_scores(pool[d[:, :k].reshape(-1)], values, val) for d in t.shots] for t in tasks
        }
        told[str(k)] = _figure(scores, data)
    return {"linear probe": told}
