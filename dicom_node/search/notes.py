"""What is to be said of a question beside its answers, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.ports import Speaker
from dicom_node.search.question import Question, Statement
from dicom_node.search.suggest import Suggestions


def notes_on(
    question: Question, speaker: Speaker, chosen: Sequence[str], suggestions: Suggestions
) -> tuple[str, ...]:
    """What was not used, or only partly. Names of the bundle's findings, and no words of the question."""
    notes = []
    if question.undecided:
        notes.append(
            "What is to be ruled out, or was asked for, is neither affirmed nor denied; it was not used. "
            "Write it without those words, or with `no`."
        )
    if question.wanted.codes:
        codes = ", ".join(sorted(question.wanted.codes))
        known = ", ".join(speaker.modalities)
        notes.append(
            f"The bundle has no encoder for {codes}: such studies cannot answer. It has some for {known}."
        )
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
        elif not named and chosen and not (statement.is_kind and _knows_a_kind(question, by_id, chosen)):
            notes.append(_unnamed(statement, suggestions))
        if named and statement.narrower:
            names = ", ".join(sorted({entry.name for entry in named}))
            notes.append(
                f"{names}: the words say more than that, and no finding of the bundle is as narrow. "
                "What more they say moves the order a little and leaves out nothing."
            )
    return tuple(dict.fromkeys(notes))


def _knows_a_kind(question: Question, by_id: Mapping[str, FindingEntry], chosen: Sequence[str]) -> bool:
    """Whether a modality knows one of the kinds of a general name; the other kinds are then not asked."""
    kinds = (one for one in question.statements if one.is_kind)
    return any(by_id[identifier].modality in chosen for kind in kinds for identifier in kind.findings)


def why_empty(question: Question, speaker: Speaker, without_filters: int, most: int) -> str:
    """Of a question that nothing answers: how many would but for what merely filters, and what that is."""
    name = {entry.id: entry.name for entry in speaker.entries}
    asked = []
    for group in question.all_of:
        told = [
            (name[one.findings[0]] if one.present else f"no {name[one.findings[0]]}")
            if one.findings
            else None
            for one in group.any_of
        ]
        asked.append("what is asked in words" if None in told else " or ".join(one for one in told if one))
    wanted = question.wanted
    filters = [
        words
        for words, said in (
            ("sex", wanted.sexes),
            ("age", wanted.years),
            ("date", wanted.days),
            ("body part", wanted.body_parts),
            ("side", wanted.sides),
        )
        if said
    ]
    many = f"{most} studies or more have" if without_filters >= most else f"{without_filters} studies have"
    have = "1 study has" if without_filters == 1 else many
    return f"{have} {', and '.join(asked)}; none of them passes what is asked of {' and '.join(filters)}."


def _unnamed(statement: Statement, suggestions: Suggestions) -> str:
    if statement.findings:
        return "A statement names no finding that the bundle knows there: ranked by likeness alone."
    near = suggestions.nearest(statement)
    meant = "" if near is None else f" Did you mean {near}?"
    return f"No finding is known by these words: ranked by likeness alone, which may mean nothing.{meant}"
