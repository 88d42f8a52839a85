"""The names under which a bundle's findings can be asked for: its catalogue's names, codes and prompts, and
their synonyms in the vocabulary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.vocabulary import BodyPart, Cue, Filler, Modality, Phrase, Phrases, Vocabulary
from dicom_node.search.words import Token

OPENING = (Modality, BodyPart, Filler)
"""What stands before a finding in a prompt and is no part of its name: `chest radiograph showing ...`."""


@dataclass(frozen=True, slots=True)
class Term:
    """One name of findings."""

    findings: tuple[str, ...]
    """Ids: several where more than one modality knows the same name."""
    denies: bool = False
    """Whether the name says that they are absent: `normal ECG`."""
    spelled: str | None = None
    """The catalogue's own words, where this is a synonym."""


def terms_of(entries: Iterable[FindingEntry], vocabulary: Vocabulary) -> Phrases[Term]:
    """Every name of `entries`, by its keys."""
    terms: dict[Phrase, Term] = {}

    def add(text: str, identifier: str, *, negated_prompt: bool = False) -> None:
        found = _name(vocabulary.tokens(text), vocabulary)
        if found is None:
            return
        phrase, denied = found
        denies = negated_prompt and not denied
        if denied and not negated_prompt:
            return
        known = terms.get(phrase)
        if known is None:
            terms[phrase] = Term((identifier,), denies)
        elif known.denies == denies and identifier not in known.findings:
            terms[phrase] = replace(known, findings=(*known.findings, identifier))

    for entry in entries:
        for text in (entry.name, entry.code.meaning, *entry.prompts.affirmed):
            add(text, entry.id)
        for text in entry.prompts.negated:
            add(text, entry.id, negated_prompt=True)
    for asked, known_as in vocabulary.synonyms.items():
        phrase = vocabulary.phrase(asked)
        target = next((name for name in known_as if vocabulary.phrase(name) in terms), None)
        if target is not None and phrase not in terms:
            terms[phrase] = replace(terms[vocabulary.phrase(target)], spelled=target)
    return Phrases(terms)


def _name(tokens: Sequence[Token], vocabulary: Vocabulary) -> tuple[Phrase, bool] | None:
    """The keys of a prompt without what leads up to the finding, and whether it was denied there. None where
    the prompt is more than a name: a list, or a sentence with another cue in it."""
    at, denied = 0, False
    while at < len(tokens):
        found = vocabulary.meanings.match(tokens, at)
        if found is None and tokens[at].key != ":":
            break
        length, meaning = found or (1, Filler())
        rest = at + length < len(tokens)
        if meaning is Cue.ABSENT:
            denied = True
        elif not (rest and (isinstance(meaning, OPENING) or meaning in (Cue.LEAD, Cue.PRESENT))):
            break
        at += length
    rest_of = tokens[at:]
    if not rest_of or any(not token.key[0].isalnum() for token in rest_of):
        return None
    return tuple(token.key for token in rest_of), denied
