"""A question by example: "studies like this one"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dicom_node.errors import QuestionError
from dicom_node.search.centres import Centres
from dicom_node.search.directions import unit
from dicom_node.search.ports import Floats, Index, Speaker
from dicom_node.search.question import Reason
from dicom_node.store.search_facts import Candidate, Filters, Level

LEAST_AWAY = 1e-3
"""From a centre, in units of a vector's length: what is nearer has no direction but that of rounding."""
MOST_VIEWS = 100
"""Of one study; their mean is the example."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """What answers shall be like."""

    study_uid: str | None
    """None: it is not in the archive."""
    modalities: tuple[str, ...]
    towards: Floats
    """(D,) unit norm: from the centre of its modality to the example. From the centre of another modality it
    points to what is alike there, as all modalities share one space."""


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One view of an object that is not in the archive, as the encoder sees it."""

    modality: str
    vector: Floats
    """(D,) unit norm."""


def given_example(centres: Centres, seen: Sequence[Seen]) -> Example:
    """The views of one study that the archive does not hold; at least one."""
    away = [_from_centre(centres, view.modality, view.vector, 0) for view in seen]
    return Example(
        study_uid=None,
        modalities=tuple(dict.fromkeys(view.modality for view in seen)),
        towards=unit(np.mean(away, axis=0, dtype=np.float32)),
    )


def find_example(index: Index, centres: Centres, speaker: Speaker, uid: str) -> Example:
    """The study or series `uid`, as it lies in the index.

    Raises QuestionError (`unknown-example`) where the index has no row of it in scope.
    """
    rows = _rows(index, speaker, uid)
    if not rows:
        raise QuestionError(
            Reason.UNKNOWN_EXAMPLE,
            "The example is not in the index: it is unknown here, was not assessed yet, or is not what the "
            "encoders were made for. Give the UID of a study, or of a series, that was reported.",
        )
    away = [_away(index, centres, speaker, row) for row in rows]
    return Example(
        study_uid=rows[0].study_uid,
        modalities=tuple(dict.fromkeys(row.modality for row in rows if row.modality is not None)),
        towards=unit(np.mean(away, axis=0, dtype=np.float32)),
    )


def _rows(index: Index, speaker: Speaker, uid: str) -> list[Candidate]:
    digest = speaker.identity.digest
    by_study = index.newest(Filters(digest, Level.SERIES, study_uids=(uid,)), MOST_VIEWS)
    found = by_study or index.newest(Filters(digest, Level.SERIES, series_uids=(uid,)), MOST_VIEWS)
    each_series: dict[str | None, Candidate] = {}
    for row in found:
        each_series.setdefault(row.series_uid, row)
    return [row for row in each_series.values() if row.modality is not None]


def _away(index: Index, centres: Centres, speaker: Speaker, row: Candidate) -> Floats:
    """(D,) unit norm: the series' mean, from the centre of its modality."""
    digest = speaker.identity.digest
    vectors = index.vectors_of(digest, Level.SERIES, study_uid=row.study_uid, series_uid=row.series_uid)
    return _from_centre(centres, row.modality or "", vectors.mean(axis=0), len(vectors))


def _from_centre(centres: Centres, modality: str, vector: Floats, own: int) -> Floats:
    """(D,) unit norm; `own` rows of the modality are those of the example itself."""
    centre = centres.of(modality)
    # A single study is its own centre, and one that lies in the centre points nowhere: then its own direction
    # is all that is known.
    away = vector - centre.mean if len(centre.rows) > max(own, 1) else vector
    known = float(np.linalg.norm(away)) > LEAST_AWAY
    return unit(np.asarray(away if known else vector, dtype=np.float32))
