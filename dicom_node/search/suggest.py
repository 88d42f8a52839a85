"""What may have been meant by words that name no finding: the nearest name that the bundle or the vocabulary
knows, by letters alone."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.search.question import Statement
from dicom_node.search.terms import Term
from dicom_node.search.vocabulary import BodyPart, Modality, Phrases, Sex, Vocabulary

SHORTEST = 5
"""Characters of a word that is compared: most shorter ones are near many names."""
CLOSE = 0.8
"""`difflib`'s ratio: `pneumonia` with two letters exchanged has .89."""


class Suggestions:
    """Names to suggest. Holds no words of any question."""

    def __init__(self, entries: Iterable[FindingEntry], vocabulary: Vocabulary, terms: Phrases[Term]) -> None:
        self._vocabulary = vocabulary
        self._names: dict[str, str] = {}
        written = [*vocabulary.synonyms, *vocabulary.kinds]
        for name in [*(entry.name for entry in entries), *written]:
            phrase = vocabulary.phrase(name)
            if phrase in terms:
                self._names.setdefault(" ".join(phrase), name.lower())
        for phrase in vocabulary.meanings:
            if len(phrase) == 1 and isinstance(vocabulary.meanings[phrase], Modality | Sex | BodyPart):
                self._names.setdefault(phrase[0], phrase[0])

    def nearest(self, statement: Statement) -> str | None:
        """A known name near to all the words, else to one of them; None where none is near."""
        keys = [token.key for token in self._vocabulary.tokens(statement.text)]
        known = {(key,) for key in keys if (key,) in self._vocabulary.meanings}
        for asked in (" ".join(keys), *(key for key in keys if (key,) not in known)):
            found = get_close_matches(asked, self._names, n=1, cutoff=CLOSE) if len(asked) >= SHORTEST else []
            if found:
                return self._names[found[0]]
        return None
