"""The archive as the doors ask it: every question is answered, and told to the audit trail."""

from __future__ import annotations

from typing import Any, Protocol

from dicom_node.search.answer import Answer, Request, Searcher
from dicom_node.search.dates import Days
from dicom_node.search.question import Question


class Trail(Protocol):
    """Where it is kept who asked; `store.search_sample.AskedIndex` is one."""

    def note_asked(self, door: str, asker: str, **detail: Any) -> None:
        """`detail` is JSON and holds no words of the question."""


class AskedArchive:
    """Questions to the archive from any door. Safe to use from several threads."""

    def __init__(self, searcher: Searcher, trail: Trail) -> None:
        self._searcher = searcher
        self._trail = trail

    def ask(self, request: Request, *, door: str, asker: str) -> Answer:
        """As `Searcher.ask`. `door` is `http`, `dimse`, ...; `asker` an address or AE title."""
        answer = self._searcher.ask(request)
        self._trail.note_asked(
            door,
            asker,
            **in_short(answer.question),
            similar_to=request.similar_to,
            answers=[hit.row.study_uid for hit in answer.hits],
        )
        return answer

    def days(self, text: str) -> Days:
        """As `Searcher.days`."""
        return self._searcher.days(text)


def in_short(question: Question) -> dict[str, Any]:
    """What a question was about, without a word of it: findings by their ids, what was filtered by."""
    statements = question.statements
    wanted = question.wanted
    filtered = ("sexes", "years", "days", "modalities", "codes", "not_modalities", "body_parts", "sides")
    return {
        "present": sorted({i for s in statements if s.present for i in s.findings}),
        "absent": sorted({i for s in statements if not s.present for i in s.findings}),
        "in_words": sum(1 for s in statements if not s.findings),
        "filtered_by": [name for name in filtered if getattr(wanted, name)],
    }
