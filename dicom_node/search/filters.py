"""What a question wants of the objects, as the index takes it; and what the index cannot ask."""

from __future__ import annotations

import math
from collections.abc import Iterable

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.ages import least_and_most
from dicom_node.search.dates import Days
from dicom_node.search.ports import Speaker
from dicom_node.search.question import Question, Statement
from dicom_node.search.vocabulary import Years
from dicom_node.store.search_facts import Candidate, Filters, FindingRange, Level

ACCEPTED_SIDES = {"L": ("L", "B"), "R": ("R", "B"), "B": ("L", "R", "B")}
"""Who asks for the left eye takes an image of both; who asks for both takes the one and the other."""


def to_filters(question: Question, speaker: Speaker, not_study: str | None = None) -> Filters:
    """Sex, age and date. An object that does not tell them does not fulfil them; body part and side, which
    most objects do not tell, are left to `fits`. Modality and findings are added for each modality."""
    wanted = question.wanted
    least, most = least_and_most(wanted.years or Years())
    days = wanted.days or Days()
    return Filters(
        bundle=speaker.identity.digest,
        level=Level.SERIES,
        from_date=days.first,
        until_date=days.last,
        sexes=wanted.sexes,
        least_age=least,
        most_age=most,
        not_study_uids=() if not_study is None else (not_study,),
    )


def fits(question: Question, row: Candidate) -> bool:
    """Whether the object does not name another part of the body, or the other side, than is wanted."""
    wanted = question.wanted
    sides = {side for asked in wanted.sides for side in ACCEPTED_SIDES[asked]}
    other_part = (
        bool(wanted.body_parts) and row.body_part is not None and row.body_part not in wanted.body_parts
    )
    other_side = bool(sides) and row.laterality is not None and row.laterality not in sides
    return not (other_part or other_side)


def silent_traits(question: Question, row: Candidate) -> tuple[str, ...]:
    """What is wanted and the object does not tell."""
    wanted = question.wanted
    asked_side = bool(wanted.sides) or any(statement.side for statement in question.statements)
    return tuple(
        name
        for name, asked, told in (
            ("body part", bool(wanted.body_parts), row.body_part),
            ("side", asked_side, row.laterality),
        )
        if asked and told is None
    )


def modalities_of(question: Question, speaker: Speaker) -> tuple[str, ...]:
    """The modalities that can answer: those asked for by name, else those that know what is asked.

    "No pneumothorax" asks for no fundus photograph, and "pneumonia" for none either. Where no modality knows
    all that is asked, those answer that know something that shall be there, and tell the rest by likeness;
    where nothing is known to any, all of them do.
    """
    wanted = question.wanted
    if wanted.codes and not wanted.modalities:
        return ()
    if wanted.modalities:
        return tuple(m for m in speaker.modalities if m in wanted.modalities)
    could = [m for m in speaker.modalities if m not in wanted.not_modalities]
    modality = {entry.id: entry.modality for entry in speaker.entries}

    def knowing(statements: Iterable[Statement]) -> set[str]:
        return {modality[identifier] for one in statements for identifier in one.findings}

    known = [found for group in question.all_of if (found := knowing(group.any_of))]
    if not known:
        return tuple(could)
    every = set.intersection(*known)
    there = knowing(statement for statement in question.statements if statement.present)
    chosen = every or there or set.union(*known)
    return tuple(m for m in could if m in chosen)


def knows_elsewhere(question: Question, statement: Statement, modality: str) -> bool:
    """Whether a finding is named that other modalities know, while `modality` was not asked for by name."""
    return bool(statement.findings) and modality not in question.wanted.modalities


def range_of(entry: FindingEntry, *, present: bool) -> FindingRange:
    """The probabilities at which the node does not say the contrary. Where it abstains, the finding may be
    there; it is not said to be absent."""
    spoken = entry.threshold if entry.unsure_from is None else entry.unsure_from
    if present:
        return FindingRange(entry.id, least=spoken)
    return FindingRange(entry.id, most=max(0.0, math.nextafter(spoken, -math.inf)))
