"""How well a study answers a question, and why: pure arithmetic.

Every statement gets a probability that it holds. Where the node scored the finding it is the calibrated one,
whose log odds the words' likeness moves a little (they may say more than the finding's name: `large`,
`apical`). Where it did not, likeness is all there is, and starts from low odds: most that can be named is not
there. A statement that shall not hold counts by the probability that it does not. Statements count as
independent: the score is the product over all, of alternatives the probability that one of them holds.

    p      = sigmoid(log_odds(probability) + WEIGHT * likeness)      the finding was scored
    p      = sigmoid(RARE + likeness)                                it was not
    score  = product over groups of (1 - product over alternatives of (1 - (p or 1 - p)))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.findings.assess import presence
from dicom_node.findings.calibrate import log_odds, sigmoid
from dicom_node.records import Presence
from dicom_node.search.question import Statement

WEIGHT = 0.25
"""Log odds that one standard deviation of likeness is worth beside a calibrated probability."""
RARE = -2.0
"""Log odds of what nobody scored, in an image that is as like it as others of its modality: 12 %."""
ELSEWHERE = -4.0
"""Likewise where another modality could have told, and this one is not asked for by name."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What one statement is worth in one study."""

    statement: Statement
    finding: FindingEntry | None
    """What the statement names, in the study's modality."""
    probability: float | None
    """Calibrated; None where the node did not score it."""
    likeness: float
    """Standard deviations above the mean of the modality, of the image's cosine to what is said."""
    holds: float
    """Probability that what was asked for is so: that it is there, or that it is not."""
    accepted: bool
    """False where the node found the contrary: such a study does not answer."""

    @property
    def presence(self) -> Presence | None:
        """What the node says of the finding; None where it says nothing."""
        if self.finding is None or self.probability is None:
            return None
        return presence(self.probability, self.finding.threshold, self.finding.unsure_from)


def judge(
    statement: Statement,
    finding: FindingEntry | None,
    probability: float | None,
    likeness: float,
    *,
    elsewhere: bool = False,
) -> Judged:
    """`probability` is that of `finding`, None where it was not scored; `likeness` is meant in the sense of
    the finding, or of the statement where there is none. `elsewhere`: another modality knows the finding, and
    this one was not asked for."""
    shall_be = statement.affirmed if finding is None else statement.present
    if finding is not None and probability is not None:
        odds = log_odds(probability) + WEIGHT * likeness
        said = presence(probability, finding.threshold, finding.unsure_from)
        accepted = (said is not Presence.ABSENT) if shall_be else (said is Presence.ABSENT)
    else:
        odds = (ELSEWHERE if elsewhere else RARE) + likeness
        accepted = True
    holds = sigmoid(odds if shall_be else -odds)
    return Judged(statement, finding, probability, likeness, holds, accepted)


def score(groups: Sequence[Sequence[Judged]], similarity: float | None = None) -> float:
    """0 to 1. `similarity`: cosine of the image to an example, both centred; 1 is the same."""
    told = 1.0 if similarity is None else (1.0 + min(max(similarity, -1.0), 1.0)) / 2.0
    for group in groups:
        told *= 1.0 - math.prod(1.0 - judged.holds for judged in group if judged.accepted)
    return told


def answers(groups: Sequence[Sequence[Judged]]) -> bool:
    """Whether nothing that was found speaks against it: in every group an alternative is accepted."""
    return all(any(judged.accepted for judged in group) for group in groups)
