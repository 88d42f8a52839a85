"""What an encoder was made for, as numbers: the linear map behind its features, and the ScopeEntry on top.

The map has two parts. The first PARTS numbers of a signature span what varies most among training data and
strangers together, turned and scaled so that the training data have mean 0 and covariance 1 there: the
distance to them is the length of that part. The rest are the log odds of each kind of stranger against the
training data, by multinomial logistic regression. Both see the training data as they are and as another
hospital would have made them (`other_machines.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Likeness, ScopeEntry
from dicom_node.findings.scope import ScopeStatistics, distances, likenesses, sample_scores
from export.scope_data import ScopeData
from export.signature import LinearMap, write_signature

Doubles = NDArray[np.float64]

PARTS = 40
SHRINK = 0.05
"""Part of the mean variance that every direction is given: the least ones are mostly chance."""
PENALTY = 3e-2
"""Of squared weights, in units of the mean cross entropy; features have unit deviation. Large, so that
no small trait of the training hospitals counts: with 3e-4 the films of a hospital left out looked strange."""
STEPS = 60
ALIKE = 0.97
"""Part of the calibration data that sets the unit of distance."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Where the limits of one reader's scope lie, relative to what its calibration data show."""

    wider: float = 1.5
    """How many times further than calibration data an input may lie: alterations do not reach all that other
    hospitals do."""
    likelier: float = -2.0
    """Log odds up to which an input is in scope: it looks more than seven times (e^2) likelier one of the
    encoder's own than a stranger. A quantile of the training hospitals' own odds (-4 to -3) refused most
    films of a hospital left out."""
    kept: float = 0.98
    """Part of the calibration data, one by one, as they are and altered, that is in scope at the least."""
    view_quantile: float = 0.5
    """See `ScopeEntry`: the median, where nothing else is known of how samples of a view differ."""


RULES: Mapping[str, Rule] = {
    # Odds: with -2 of 160 limbs (data/xray/not_chest) seven passed, eight being all that may; held-out films,
    # as they are and altered, lie below -3 all but one in fifty. Set between the two, when limbs and heads
    # had been measured: their figures are no untouched test.
    "radiograph": Rule(likelier=-2.5),
    # Odds: as above, held-out slices below -4, heads (data/ct/not_chest) above -2.2 all but one in fifty.
    # Distance: it held all twelve slices of other scanners (data/ct/tcia_slices), which were looked at for
    # it; they reach 1.3. Views: in a series of the whole trunk a third of the slices show lungs.
    "ct": Rule(likelier=-2.5, view_quantile=0.35),
    # Tissue was chosen before, so half of the tiles may be asked to be known. Of five classes each left out
    # in turn the middle tile lay at 1.8 (healthy lung), 2.4 (healthy colon), 1.2 (carcinoma of the colon),
    # 0.9 and 0.6 (two carcinomas of the lung) times the distance of calibration data; skin of another
    # laboratory (tests/samples), which was looked at for it, at 1.3, in 18 of 20 bootstraps above 1.18; tiles
    # held out at 0.6, altered or not. With 1.5 the skin passed. So near one tile in twenty of the
    # laboratory's own is refused, which a view of many can bear.
    "slide": Rule(wider=1.0, kept=0.95),
}
"""By `Encoder.reader`."""


def rule_of(reader: str) -> Rule:
    """The rule of a reader; the plain one where nothing is known of it."""
    return RULES.get(reader, Rule())


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """How features become a signature, and what its numbers mean."""

    linear: LinearMap
    parts: int
    """Numbers of which the distance is the length."""
    kinds: tuple[str, ...]
    """What the log odds after them are about, in their order."""


def teach_scope(data: ScopeData, reader: str, graph: Path) -> ScopeEntry:
    """Fit the signature on what `graph` made of `data`, write it into `graph`, and say what is in scope."""
    signature = fit_signature(data.own, data.strangers, data.kinds)
    write_signature(graph, signature.linear)
    return entry_of(signature.linear(data.calib), signature, rule_of(reader))


def fit_signature(
    own: NDArray[np.floating], strangers: NDArray[np.floating], kinds: Sequence[str]
) -> Signature:
    """From the features of training data (N, R) and of strangers (M, R) of M `kinds`.

    Raises ValueError for fewer than three of either: nothing varies then.
    """
    if min(len(own), len(strangers)) < 3:
        raise ValueError(f"{len(own)} training examples and {len(strangers)} strangers: at least 3 of each.")
    x, y = own.astype(np.float64), strangers.astype(np.float64)
    mean, deviation = x.mean(axis=0), (x.std(axis=0) + y.std(axis=0)) / 2
    deviation = deviation + 1e-3 * max(float(deviation.mean()), 1e-9)
    x, y = (x - mean) / deviation, (y - mean) / deviation
    white = _whitening(x, np.concatenate([x, y]))
    names = tuple(sorted(set(kinds)))
    labels = np.array([0] * len(x) + [1 + names.index(kind) for kind in kinds])
    odds, bias = _log_odds(np.concatenate([x, y]), labels)
    weight = np.concatenate([white, odds], axis=1) / deviation[:, None]
    offset = np.concatenate([np.zeros(white.shape[1]), bias]) - mean @ weight
    linear = LinearMap(weight.astype(np.float32), offset.astype(np.float32))
    return Signature(linear, white.shape[1], names)


def entry_of(calib: NDArray[np.float32], signature: Signature, rule: Rule) -> ScopeEntry:
    """The scale of both questions, and the threshold, from signatures (N, K) of the calibration split.

    In scope is what lies within `rule.wider` times the distance of calibration data and has log odds of being
    a stranger of `rule.likelier` at most; never less than `rule.kept` of the calibration data.
    """
    likeness = Likeness(kinds=signature.kinds, distance_limit=1.0, limit=0.0, scale=1.0)
    draft = ScopeEntry(
        on="signature",
        mean=(0.0,) * signature.parts,
        components=(),
        variances=(),
        residual_variance=1.0,
        likeness=likeness,
        view_quantile=rule.view_quantile,
        threshold=1.0,
    )
    statistics = ScopeStatistics.of(draft)
    far, alike = distances(calib, statistics), likenesses(calib, statistics)
    likeness = Likeness(
        kinds=signature.kinds,
        distance_limit=_rounded(rule.wider * float(np.quantile(far, ALIKE))),
        limit=rule.likelier,
        scale=_rounded(max(rule.likelier - float(np.median(alike)), 1.0)),
    )
    entry = draft.model_copy(update={"likeness": likeness})
    # Above 1 only where the encoder's own data are so hard to tell from strangers that too many were refused.
    least = float(np.quantile(sample_scores(calib, ScopeStatistics.of(entry)), rule.kept))
    return entry.model_copy(update={"threshold": _rounded(max(1.0, least))})


def _whitening(own: Doubles, everything: Doubles) -> Doubles:
    """(R, k): the directions in which `everything` varies most, scaled to unit variance of `own` (mean 0)."""
    covariance = np.cov(everything, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    most = min(PARTS, len(own) - 1, int((values > 1e-9 * values.max()).sum()))
    directions = vectors[:, ::-1][:, :most]
    values, turn = np.linalg.eigh(np.cov(own @ directions, rowvar=False).reshape(most, most))
    values = (1 - SHRINK) * np.maximum(values, 0.0) + SHRINK * float(values.mean())
    return np.asarray(directions @ turn / np.sqrt(values))


def _log_odds(features: Doubles, labels: NDArray[np.int64]) -> tuple[Doubles, Doubles]:
    """Weights (R, C) and bias (C,) of the log odds of classes 1 to C against class 0."""
    given, wanted = torch.from_numpy(features.astype(np.float32)), torch.from_numpy(labels)
    classes = int(labels.max()) + 1
    weight = torch.zeros(classes, given.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        value = torch.nn.functional.cross_entropy(given @ weight.T + bias, wanted)
        value = value + PENALTY * (weight**2).sum()
        value.backward()  # type: ignore[no-untyped-call] # torch does not annotate it
        return value

    search.step(loss)  # type: ignore[no-untyped-call] # nor this
    rows, offset = weight.detach().double().numpy(), bias.detach().double().numpy()
    return np.asarray((rows[1:] - rows[0]).T), np.asarray(offset[1:] - offset[0])


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
