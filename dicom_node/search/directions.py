"""Statements to directions: where in the shared space what they say lies, against its denial."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import numpy as np

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.ports import Floats, Speaker
from dicom_node.search.question import Statement
from dicom_node.search.vocabulary import Frames


class Directions:
    """Directions of one bundle; those of its findings are kept. Safe to use from several threads."""

    def __init__(self, speaker: Speaker, frames: Frames) -> None:
        self._speaker = speaker
        self._frames = frames
        self._known: dict[str, Floats] = {}
        self._lock = Lock()

    def of(self, statement: Statement, entry: FindingEntry | None) -> Floats:
        """(D,) unit norm, of what the words say, whether it is asked to be there or not.

        `entry` is the finding of the modality in question that the statement names: where it says nothing
        more, that finding's own prompts are used, as its calibration was fitted on them. Raises
        InferenceError.
        """
        if entry is not None and statement.bare:
            return self._of_entry(entry)
        opposite = self._frames.opposites.get(statement.prompt)
        if opposite is not None:
            return self._between([statement.prompt], [opposite])
        affirmed = [frame.format(statement.prompt) for frame in self._frames.affirmed]
        denied = [frame.format(statement.prompt) for frame in self._frames.negated]
        direction = self._between(affirmed, denied)
        return -direction if statement.denies and entry is not None else direction

    def _of_entry(self, entry: FindingEntry) -> Floats:
        with self._lock:
            known = self._known.get(entry.id)
        if known is None:
            known = self._between(entry.prompts.affirmed, entry.prompts.negated)
            with self._lock:
                self._known[entry.id] = known
        return known

    def _between(self, affirmed: Sequence[str], denied: Sequence[str]) -> Floats:
        embedded = self._speaker.embed([*affirmed, *denied])
        return unit(_anchor(embedded[: len(affirmed)]) - _anchor(embedded[len(affirmed) :]))


def unit(vector: Floats) -> Floats:
    """With norm 1; zero stays zero."""
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _anchor(embedded: Floats) -> Floats:
    """As `findings.prompts.make_anchors` makes one."""
    return unit(np.asarray(embedded.mean(axis=0), dtype=np.float32))
