"""What a C-FIND asks, as Orthanc hands it to a plugin. Pure.

The conventions for questions in words (docs/ORTHANC.md):

    (4D33,00xx) LO  private creator M3BIND; xx is the block (PS3.5 section 7.8.1)
    (4D33,xx01) LT  the question
    (4D33,xx02) FD  answer: score, 0 to 1
    (4D33,xx03) LO  answer: what speaks for it, one value each
    (4D33,xx04) UI  study or series that answers shall be like
    (4D33,xx05) LO  answer: bundle, name and version

Whoever can fill standard fields only calls the AE title M3BIND_FIND, and asks in Study Description.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

GROUP = 0x4D33
CREATOR = "M3BIND"
TEXT, SCORE, TAGS, SIMILAR, BUNDLE = range(1, 6)
"""Elements of the block."""
FIND_AET = "M3BIND_FIND"

CHARACTER_SET = "0008,0005"
LEVEL = "0008,0052"
RETRIEVE_AET = "0008,0054"
MODALITY = "0008,0060"
MODALITIES_IN_STUDY = "0008,0061"
STUDY_DATE = "0008,0020"
STUDY_DESCRIPTION = "0008,1030"
STUDY_UID = "0020,000d"
SERIES_UID = "0020,000e"

LEVELS = {
    "PATIENT": "Patient",
    "PATIENTS": "Patient",
    "STUDY": "Study",
    "STUDIES": "Study",
    "SERIES": "Series",
    "INSTANCE": "Instance",
    "INSTANCES": "Instance",
    "IMAGE": "Instance",
    "IMAGES": "Instance",
}
"""What Orthanc takes as Query/Retrieve Level, and its own word for it."""


class QueryError(Exception):
    """The query cannot be answered; the message says why, without patient data."""


@dataclass(frozen=True)
class Key:
    """One element of the query."""

    tag: str
    """`gggg,eeee`, lower case."""
    name: str
    """Orthanc's own, which its JSON uses."""
    value: str
    """Empty where anything matches."""


@dataclass(frozen=True)
class Query:
    """All of them, in order of tags."""

    keys: tuple[Key, ...]

    @property
    def level(self) -> str:
        """Orthanc's word. Raises QueryError, as Orthanc does, where there is none."""
        word = self.get(LEVEL).strip().upper()
        if word not in LEVELS:
            raise QueryError("the query has no usable Query/Retrieve Level (0008,0052)")
        return LEVELS[word]

    @property
    def tags(self) -> frozenset[str]:
        """Of all keys, with a value or without."""
        return frozenset(key.tag for key in self.keys)

    def get(self, tag: str) -> str:
        """Value of a key; empty where there is none."""
        return next((key.value for key in self.keys if key.tag == tag), "")

    def constraints(self) -> dict[str, str]:
        """The keys that limit what is found. Group lengths (gggg,0000) never do."""
        return {
            key.tag: key.value
            for key in self.keys
            if key.value and key.tag not in (LEVEL, CHARACTER_SET) and not key.tag.endswith(",0000")
        }

    def without(self, tags: Iterable[str]) -> Query:
        """The other keys."""
        gone = frozenset(tags)
        return Query(tuple(key for key in self.keys if key.tag not in gone))

    def extended(self, keys: Iterable[tuple[str, str]]) -> Query:
        """With more keys (tag, value)."""
        added = (Key(tag, "", value) for tag, value in keys)
        return Query(tuple(sorted((*self.keys, *added), key=lambda key: key.tag)))

    def where(self, values: Mapping[str, str]) -> Query:
        """With other values of the keys that are there."""
        return Query(tuple(replace(key, value=values.get(key.tag, key.value)) for key in self.keys))


@dataclass(frozen=True)
class Semantic:
    """A question in words, or by example, and the keys that remain to be matched as ever."""

    text: str
    similar_to: str
    block: int | None
    """Of the private elements, which the answers then have, too; None where the AE title said it all."""
    rest: Query


def tag_of(group: int, element: int) -> str:
    """`gggg,eeee`."""
    return f"{group:04x},{element:04x}"


def semantic_of(query: Query, called: str) -> Semantic | None:
    """The question that a query holds; None for an ordinary one. `called`: AE title."""
    block = _block(query)
    text, similar = (_private(query, block, element) for element in (TEXT, SIMILAR))
    by_title = called.strip() == FIND_AET and not text
    if by_title:
        # Workstations put wildcards around what is typed.
        text = query.get(STUDY_DESCRIPTION).strip("* ")
    if not text and not similar:
        return None
    rest = query.without(key.tag for key in query.keys if key.tag.startswith(f"{GROUP:04x},"))
    return Semantic(text, similar, block, rest.where({STUDY_DESCRIPTION: ""}) if by_title else rest)


def _block(query: Query) -> int | None:
    for key in query.keys:
        group, element = (int(part, 16) for part in key.tag.split(","))
        if group == GROUP and 0x10 <= element <= 0xFF and key.value.strip("\0 ") == CREATOR:
            return element
    return None


def _private(query: Query, block: int | None, element: int) -> str:
    return "" if block is None else query.get(tag_of(GROUP, block << 8 | element)).strip("\0 ")
