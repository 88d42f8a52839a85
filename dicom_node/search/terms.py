"""The names under which a bundle's findings can be asked for: its catalogue's names, codes and prompts, and
their synonyms in the vocabulary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
    kinds: tuple[Term, ...] = ()
    """Of a general name (`cancer`): what any of will do."""
    narrower: bool = False
    """Whether it says more than the finding does: `STEMI`, of an infarction."""


def terms_of(
    entries: Iterable[FindingEntry], vocabulary: Vocabulary, scored: Collection[str] | None = None
) -> Phrases[Term]:
    """Every name of `entries`, by its keys. General names stand for those of `scored` (None: for all)."""
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
            terms[phrase] = replace(
                terms[vocabulary.phrase(target)], spelled=target, narrower=phrase in vocabulary.narrower
            )
    for asked, names in vocabulary.kinds.items():
        kinds = _kinds(names, terms, vocabulary, scored)
        if kinds:
            every = dict.fromkeys(identifier for kind in kinds for identifier in kind.findings)
            terms[vocabulary.phrase(asked)] = Term(tuple(every), kinds=kinds)
    return Phrases(terms)


def _kinds(
    names: Iterable[str],
    terms: Mapping[Phrase, Term],
    vocabulary: Vocabulary,
    scored: Collection[str] | None,
) -> tuple[Term, ...]:
    """Those of `names` that are known and scored, each finding once."""
    kinds: dict[tuple[str, ...], Term] = {}
    for name in names:
        term = terms.get(vocabulary.phrase(name))
        if term is None or term.denies:
            continue
        findings = tuple(one for one in term.findings if scored is None or one in scored)
        if findings:
            kinds.setdefault(findings, Term(findings, spelled=name))
    return tuple(kinds.values())


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
