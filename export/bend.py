"""A sigmoid that does not fit is bent: a strictly rising broken line in log odds, as far as the data ask.

The line comes from isotonic regression (Zadrozny and Elkan 2002) of the labels on the margins, whose blocks
are drawn towards the sigmoid as by so many further views (PRIOR_VIEWS), so that no block ever says 0 or 1 and
a small one says little of its own. Between the middles of the blocks the line is straight and never flatter
than LEAST_RISE, so that no two margins share a probability and the order of studies stays what it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from dicom_node.bundle.catalogue import Calibration
from dicom_node.findings.calibrate import fit_platt, probability

Doubles = NDArray[np.float64]
Truth = NDArray[np.bool_]

PRIOR_VIEWS = 10.0
LEAST_RISE = 0.05
"""Log odds per log odds of the sigmoid."""
LEAST_POSITIVES = 30
"""Below, the sigmoid stays: its two numbers are all that so few can tell."""
FOLDS = 5
MOST_KNOTS = 12


def bend(
    margins: Doubles, present: Truth, weights: Doubles, groups: Sequence[str], sigmoid: Calibration
) -> Calibration:
    """`sigmoid`, or bent, if in cross-validation by group over the N views that is better by more than one
    standard error of the difference in log loss."""
    if min(int(present.sum()), int((~present).sum())) < LEAST_POSITIVES:
        return sigmoid
    fold = _folds(groups)
    gains = np.zeros(len(margins))
    for number in range(FOLDS):
        inside, outside = fold != number, fold == number
        if not (outside.any() and 0 < present[inside].sum() < inside.sum()):
            continue
        straight = fit_platt(margins[inside], present[inside], weights[inside])
        if straight.slope <= 0:
            return sigmoid
        bent = bent_line(margins[inside], present[inside], weights[inside], straight)
        gains[outside] = _loss(margins[outside], present[outside], straight) - _loss(
            margins[outside], present[outside], bent
        )
    told = gains * weights
    if told.mean() > told.std() / math.sqrt(len(told)):
        return bent_line(margins, present, weights, sigmoid)
    return sigmoid


def bent_line(margins: Doubles, present: Truth, weights: Doubles, sigmoid: Calibration) -> Calibration:
    """The broken line over `sigmoid`; `sigmoid` itself where one block is all there is."""
    z = sigmoid.slope * margins + sigmoid.intercept
    level = IsotonicRegression().fit_transform(z, present.astype(np.float64), sample_weight=weights)
    knots: list[tuple[float, float]] = []
    for value in np.unique(level).tolist():
        block = level == value
        size, middle = float(weights[block].sum()), float(np.average(z[block], weights=weights[block]))
        prior = 1.0 / (1.0 + math.exp(-middle))
        part = (value * size + prior * PRIOR_VIEWS) / (size + PRIOR_VIEWS)
        knots.append((middle, math.log(part / (1.0 - part))))
    risen = _rising(_thinned(knots))
    if len(risen) < 2:
        return sigmoid
    return sigmoid.model_copy(update={"method": "monotone", "knots": tuple(risen)})


def _thinned(knots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most MOST_KNOTS, the first and the last among them."""
    if len(knots) <= MOST_KNOTS:
        return list(knots)
    return [knots[i] for i in np.unique(np.linspace(0, len(knots) - 1, MOST_KNOTS).round().astype(int))]


def _rising(knots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """With each knot lifted where it would lie lower than LEAST_RISE asks for, six digits each."""
    risen = list(knots[:1])
    for (x0, _), (x1, y1) in pairwise(knots):
        if x1 - x0 > 1e-3:
            risen.append((x1, max(y1, risen[-1][1] + LEAST_RISE * (x1 - risen[-1][0]))))
    return [(round(x, 6), round(y, 6)) for x, y in risen]


def _folds(groups: Sequence[str]) -> NDArray[np.int64]:
    """(N,) the fold of each view: whole groups, dealt out in turn."""
    return np.unique(np.array(groups, dtype=np.str_), return_inverse=True)[1].reshape(-1) % FOLDS


def _loss(margins: Doubles, present: Truth, calibration: Calibration) -> Doubles:
    """(N,) cross entropy."""
    said = np.array([probability(m, calibration) for m in margins.tolist()])
    return np.asarray(-np.log(np.clip(np.where(present, said, 1.0 - said), 1e-12, None)))
