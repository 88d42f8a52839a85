"""Whether a view is of the kind its encoder was made for.

Two questions are asked of every sample, and either can put it out of scope (`catalogue.ScopeEntry`). How far
is it from the training data: Mahalanobis distance, after Lee et al. 2018, arXiv 1807.03888, which needs no
idea of what else there may be. And, where the bundle tells (format 2): does it look like one of the kinds of
stranger that were shown when the bundle was made, which a distance alone sees less sharply.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Likeness, ScopeEntry
from dicom_node.errors import BundleFormatError, InferenceError
from dicom_node.records import ViewVectors

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class ScopeStatistics:
    """A ScopeEntry as arrays: D dimensions, K components."""

    mean: Floats
    """(D,)"""
    components: Floats
    """(K, D), orthonormal rows."""
    variances: Floats
    """(K,)"""
    residual_variance: float
    threshold: float
    on_signature: bool = False
    likeness: Likeness | None = None
    view_quantile: float = 0.5

    @classmethod
    def of(cls, entry: ScopeEntry) -> ScopeStatistics:
        """From the bundle's form."""
        return cls(
            mean=np.array(entry.mean, dtype=np.float64),
            components=np.array(entry.components, dtype=np.float64).reshape(-1, len(entry.mean)),
            variances=np.array(entry.variances, dtype=np.float64),
            residual_variance=entry.residual_variance,
            threshold=entry.threshold,
            on_signature=entry.on == "signature",
            likeness=entry.likeness,
            view_quantile=entry.view_quantile,
        )

    @property
    def width(self) -> int:
        """How many numbers the vectors must have that are scored."""
        return len(self.mean) + (0 if self.likeness is None else len(self.likeness.kinds))


@dataclass(frozen=True, slots=True)
class Strangeness:
    """What is said of one view."""

    score: float
    """Larger is stranger."""
    reason: str | None
    """For people: why it is out of scope; None where it is in scope."""


def judge_scope(modality: str, vectors: ViewVectors, statistics: ScopeStatistics) -> Strangeness:
    """The score of a view, and in words what is strange about it.

    Raises InferenceError where the encoder does not give what the statistics are about.
    """
    given = scored_vectors(vectors, statistics)
    score = view_score(given, statistics)
    if score <= statistics.threshold:
        return Strangeness(score, None)
    return Strangeness(score, _in_words(modality, given, score, statistics))


def scored_vectors(vectors: ViewVectors, statistics: ScopeStatistics) -> NDArray[np.float32]:
    """(N, D) embeddings or (N, K) signatures, whichever the statistics are about. Raises InferenceError."""
    given = vectors.signatures if statistics.on_signature else vectors.embeddings
    if given is None or given.shape[1] != statistics.width:
        raise InferenceError(
            f"The bundle tells strangers by {statistics.width} numbers of the encoder's "
            f"{'signature' if statistics.on_signature else 'embedding'}, but the encoder gives "
            f"{'none' if given is None else given.shape[1]}. Export the bundle again."
        )
    return given


def check_width(modality: str, vectors: ViewVectors, statistics: ScopeStatistics) -> None:
    """Whether the encoder gives what the statistics are about, asked once at load with any answer of it: else
    every study would fail. Raises BundleFormatError."""
    try:
        scored_vectors(vectors, statistics)
    except InferenceError as error:
        raise BundleFormatError(f"Scope of {modality}: {error}") from error


def distances(given: NDArray[np.float32], statistics: ScopeStatistics) -> Floats:
    """(N,) Mahalanobis distances from the training data."""
    offset = given[:, : len(statistics.mean)].astype(np.float64) - statistics.mean
    along = offset @ statistics.components.T
    residual = offset - along @ statistics.components
    squared = (along**2 / statistics.variances).sum(axis=1)
    return np.asarray(np.sqrt(squared + (residual**2).sum(axis=1) / statistics.residual_variance))


def likenesses(given: NDArray[np.float32], statistics: ScopeStatistics) -> Floats:
    """(N,) logarithms of the odds that a sample is of any kind of stranger."""
    odds = given[:, len(statistics.mean) :].astype(np.float64)
    return np.asarray(np.logaddexp.reduce(odds, axis=1))


def sample_scores(given: NDArray[np.float32], statistics: ScopeStatistics) -> Floats:
    """(N,) scores of what `scored_vectors` gives; larger is stranger."""
    far = distances(given, statistics)
    if statistics.likeness is None:
        return far
    return np.maximum(
        far / statistics.likeness.distance_limit, _alike(given, statistics, statistics.likeness)
    )


def view_score(given: NDArray[np.float32], statistics: ScopeStatistics) -> float:
    """A quantile, as a rule the median, over a view's samples: a blank slice at the end of a series, or a
    tile of empty glass, must not put the whole view out of scope, nor one good slice bring it in."""
    return float(np.quantile(sample_scores(given, statistics), statistics.view_quantile))


def _alike(given: NDArray[np.float32], statistics: ScopeStatistics, likeness: Likeness) -> Floats:
    return 1.0 + (likenesses(given, statistics) - likeness.limit) / likeness.scale


def _in_words(modality: str, given: NDArray[np.float32], score: float, statistics: ScopeStatistics) -> str:
    likeness = statistics.likeness
    told = f"Not what the {modality} encoder was made for: "
    if likeness is None:
        return (
            told + f"distance {score:.1f} from its training data, accepted up to {statistics.threshold:.1f}."
        )
    measure = f"(score {score:.1f}, accepted up to {statistics.threshold:.1f})."
    strange = given[sample_scores(given, statistics) > statistics.threshold]
    odds = np.median(strange[:, len(statistics.mean) :], axis=0)
    # Nothing is named that is not likelier than what the encoder was made for.
    if odds.max() <= 0.0:
        return f"{told}it is unlike all that it was trained on {measure}"
    return f"{told}it looks like {likeness.kinds[int(odds.argmax())]} {measure}"
