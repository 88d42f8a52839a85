"""Text to tokens, and tokens to the one form under which they are looked up.

    "No pleural oedema, women >60"  ->  No | pleural | oedema | , | women | > | 60
    keys                                no | pleural | edema  | , | woman | > | 60

A token keeps its place in the text, so that whoever asked can be shown where the trouble is. Two words that
differ by spelling (oedema, edema), number (nodule, nodules), accent, case or hyphen have the same key, as the
tables are brought to keys by the same function as the question. A key is for looking up, not for reading.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

DASHES = frozenset("-\u2010\u2011\u2012\u2013\u2014\u2212")
SIGNS = frozenset(",;.:/()[]+&<>=?!%" + "≥≤\n")
APOSTROPHES = frozenset("'\u2019\u02bc`")


@dataclass(frozen=True, slots=True)
class Token:
    """One word, number or sign."""

    text: str
    """As it was written."""
    key: str
    start: int
    """Of its first character in the text."""
    end: int
    glued: bool = False
    """Whether nothing stands between it and the token before."""

    @property
    def number(self) -> int | None:
        """Its value where it is a whole number."""
        return int(self.text) if self.text.isdecimal() and len(self.text) <= 8 else None


@dataclass(frozen=True, slots=True)
class Spelling:
    """How words are brought to keys; the tables of `vocabulary.toml`."""

    words: Mapping[str, str]
    """Whole words whose key is another word: irregular plurals, other spellings."""
    parts: Mapping[str, str]
    """Parts of words: `aem` as in anaemia to `em`."""
    prefixes: frozenset[str]
    """What belongs to the word behind it, with a hyphen, a space or nothing between: `non`."""

    def key(self, word: str) -> str:
        """The form under which `word` (without spaces) is looked up."""
        if len(word) > 2 and word[-1] == "s" and word[:-1].isupper():
            word = word[:-1]  # CTs, MRIs
        letters = unicodedata.normalize("NFKD", word)
        plain = "".join(c for c in letters if c not in APOSTROPHES and not unicodedata.combining(c))
        found = plain.casefold()
        if found in self.words:
            return self.words[found]
        for part, other in self.parts.items():
            found = found.replace(part, other)
        return self.words.get(found) or singular(found)


def singular(word: str) -> str:
    """Without the regular ending of a plural: opacities, masses, nodules. Words that merely look like plurals
    lose an s too, wherever they stand, which does no harm to a key."""
    if len(word) <= 3 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    return word[:-1]


def tokens_of(text: str, spelling: Spelling) -> tuple[Token, ...]:
    """The tokens of `text`. Hyphens between words are no tokens, those between numbers are (`40-50`)."""
    found: list[Token] = []
    for start, end in _pieces(text):
        piece = text[start:end]
        glued = bool(found) and found[-1].end == start
        key = "-" if piece in DASHES else spelling.key(piece)
        found.append(Token(piece, key, start, end, glued))
    return tuple(_joined(_without_hyphens(found), spelling))


def _pieces(text: str) -> list[tuple[int, int]]:
    """(start, end) of words, numbers, signs. A word's apostrophes stay in it; a number ends where letters
    begin (65yo), a word does not end where digits begin (covid19)."""
    pieces: list[tuple[int, int]] = []
    at = 0
    while at < len(text):
        first = text[at]
        end = at + 1
        if first.isdecimal():
            while end < len(text) and text[end].isdecimal():
                end += 1
        elif first.isalnum():
            while end < len(text) and (text[end].isalnum() or _inside_word(text, end)):
                end += 1
        elif first not in DASHES and first not in SIGNS:
            at = end
            continue
        pieces.append((at, end))
        at = end
    return pieces


def _inside_word(text: str, at: int) -> bool:
    """An apostrophe between letters, or the accent of a letter that is written as two characters."""
    if unicodedata.combining(text[at]):
        return True
    return text[at] in APOSTROPHES and at + 1 < len(text) and text[at + 1].isalpha()


def _without_hyphens(tokens: Sequence[Token]) -> list[Token]:
    """Without dashes, but for those between two numbers."""

    def is_range(index: int) -> bool:
        beside = [*tokens[index - 1 : index], *tokens[index + 1 : index + 2]]
        return len(beside) == 2 and all(token.number is not None for token in beside)

    return [t for i, t in enumerate(tokens) if t.key != "-" or is_range(i)]


def _joined(tokens: Sequence[Token], spelling: Spelling) -> list[Token]:
    """With a prefix and the word behind it made one: non specific, non-specific."""
    joined: list[Token] = []
    for token in tokens:
        before = joined[-1] if joined else None
        if before is not None and before.key in spelling.prefixes and token.text[0].isalpha():
            whole = spelling.key(before.text + token.text)
            joined[-1] = Token(f"{before.text}{token.text}", whole, before.start, token.end, before.glued)
        else:
            joined.append(token)
    return joined
