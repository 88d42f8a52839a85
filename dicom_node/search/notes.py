"""What is to be said of a question beside its answers, for people."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.search.ports import Speaker
from dicom_node.search.question import Question


def notes_on(question: Question, speaker: Speaker, chosen: Sequence[str]) -> tuple[str, ...]:
    """What was not used, or only partly. Names of the bundle's findings, and no words of the question."""
    notes = []
    if question.undecided:
        notes.append(
            "What is to be ruled out, or was asked for, is neither affirmed nor denied; it was not used. "
            "Write it without those words, or with `no`."
        )
    if question.wanted.codes:
        codes = ", ".join(sorted(question.wanted.codes))
        notes.append(f"The bundle has no encoder for {codes}: such studies cannot answer.")
    by_id = {entry.id: entry for entry in speaker.entries}
    for statement in question.statements:
        named = [
            by_id[identifier] for identifier in statement.findings if by_id[identifier].modality in chosen
        ]
        unproven = sorted({entry.name for entry in named if entry.id not in speaker.scored})
        if unproven:
            notes.append(
                f"{', '.join(unproven)}: known to the bundle but not reported by this node; "
                "ranked by likeness alone."
            )
        elif not named and chosen:
            notes.append(
                "A statement names no finding that the bundle knows there: ranked by likeness alone."
            )
    return tuple(dict.fromkeys(notes))
