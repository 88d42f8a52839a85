"""Questions in words, or by example, in a C-FIND: the private block of `search.told`, and the AE title.

A workstation that can fill standard fields only calls another AE title: the question is then what stands in
Study Description. All other keys filter, as ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataset import Dataset

from dicom_node.errors import QuestionError
from dicom_node.matching.attributes import DELIMITERS, Attributes, character_sets, texts
from dicom_node.matching.found import Match, Rowed, match_of
from dicom_node.matching.keys import Level, tag_of
from dicom_node.matching.narrow import MODALITIES_IN_STUDY, MODALITY, ROWS, STUDY_DATE, computed_of
from dicom_node.matching.query import Query
from dicom_node.matching.times import range_of
from dicom_node.search.answer import MOST, Answer, Hit, Request
from dicom_node.search.dates import Days
from dicom_node.search.told import BUNDLE, CREATOR, GROUP, LO_LENGTH, SCORE, SIMILAR, TAGS, TEXT, tags_of
from dicom_node.store.find_facts import Narrowing
from dicom_node.uids import is_uid

STUDY_DESCRIPTION = tag_of("StudyDescription")


class Asker(Protocol):
    """The archive, asked in words; `search.service.AskedArchive` is one."""

    def ask(self, request: Request, *, door: str, asker: str) -> Answer:
        """Best first. Raises QuestionError, InferenceError, DatabaseUnavailableError."""


@dataclass(frozen=True, slots=True)
class Semantic:
    """What a C-FIND asks in words or by example."""

    text: str
    similar_to: str | None
    block: int | None
    """Of the private elements, which the answers then have too; None: the AE title said it all."""


def semantic_of(dataset: Dataset, keys: Attributes, called: bool) -> Semantic | None:
    """What is asked in words; None for an ordinary query. `called`: by the AE title for questions.

    Raises QuestionError where the example is no UID.
    """
    block = _block(dataset)
    text, similar = (_private(dataset, block, element) for element in (TEXT, SIMILAR))
    if called and not text:
        # Workstations put wildcards around what is typed.
        text = " ".join(texts(keys.get(STUDY_DESCRIPTION))).strip("* ")
    if not text and not similar:
        return None
    if similar and not is_uid(similar):
        raise QuestionError("unknown-example", "the example is not a UID")
    return Semantic(text, similar or None, block)


def _block(dataset: Dataset) -> int | None:
    for element in range(0x10, 0x100):
        if (GROUP, element) in dataset and _text(dataset, GROUP << 16 | element) == CREATOR:
            return element
    return None


def _private(dataset: Dataset, block: int | None, element: int) -> str:
    number = GROUP << 16 | (block or 0) << 8 | element
    return "" if block is None or number not in dataset else _text(dataset, number)


def _text(dataset: Dataset, number: int) -> str:
    value = dataset.get_item(number).value
    if not isinstance(value, bytes):
        return str(value or "").strip()
    encodings = convert_encodings(character_sets(dataset) or [""])
    return decode_bytes(value, encodings, DELIMITERS).strip("\0 ")


def without_question(keys: Attributes, semantic: Semantic | None, called: bool) -> Attributes:
    """The keys that are left to be matched: not the private ones, nor the question itself."""
    own = {tag: entry for tag, entry in keys.items() if not (semantic and tag.startswith(f"{GROUP:04X}"))}
    if semantic is not None and called and STUDY_DESCRIPTION in own:
        own[STUDY_DESCRIPTION] = {"vr": "LO"}
    return own


def unread_keys(tags: Collection[str], semantic: Semantic | None) -> list[str]:
    """Those of the tags that are not the question's own, which has no VR where that is implicit."""
    return [tag for tag in tags if semantic is None or not tag.startswith(f"{GROUP:04X}")]


def request_of(semantic: Semantic, query: Query, limit: int) -> Request:
    """The question, with those of the other keys that the index can filter by; all of them are looked at
    again in what it answers. Raises QuestionError at levels that are not asked in words."""
    if query.level not in (Level.STUDY, Level.SERIES):
        raise QuestionError("wrong-level", "ask in words at level STUDY or SERIES")
    wanted = [v for tag in (MODALITIES_IN_STUDY, MODALITY) for v in texts(query.keys.get(tag)) if v]
    return Request(
        text=semantic.text,
        modalities=() if any(set(v) & set("*?") for v in wanted) else tuple(dict.fromkeys(wanted)),
        days=_days(query),
        similar_to=semantic.similar_to,
        limit=min(MOST, limit),
    )


def _days(query: Query) -> Days | None:
    if query.zone is not None or STUDY_DATE not in query.matchers:
        return None
    wanted = range_of(" ".join(texts(query.keys[STUDY_DATE])), "DA")
    if wanted is None:
        return None
    first, last = wanted.first, wanted.last
    return Days(None if first is None else first.date(), None if last is None else last.date())


def hits_that_match(register: Rowed, query: Query, answer: Answer) -> Iterator[tuple[Match, Hit]]:
    """The answers that fulfil the other keys too, best first. At most MOST rows are held at once."""
    studies = tuple(hit.row.study_uid for hit in answer.hits)
    if not studies:
        return
    series = tuple(hit.row.series_uid for hit in answer.hits if hit.row.series_uid is not None)
    narrowing = Narrowing(study_uids=studies, series_uids=series if query.level is Level.SERIES else ())
    with register.rows(ROWS[query.level], narrowing, computed_of(query)) as rows:
        matched = {row.study_uid: match for row in rows if (match := match_of(query, row)) is not None}
    for hit in answer.hits:
        if hit.row.study_uid in matched:
            yield matched[hit.row.study_uid], hit


def add_block(made: Dataset, semantic: Semantic, hit: Hit, bundle: str) -> None:
    """The private elements of an answer, where the question had some."""
    if semantic.block is None:
        return
    base = GROUP << 16 | semantic.block << 8
    made.add_new(GROUP << 16 | semantic.block, "LO", CREATOR)
    made.add_new(base | TEXT, "LT", semantic.text)
    if hit.score is not None:
        made.add_new(base | SCORE, "FD", hit.score)
    made.add_new(base | TAGS, "LO", [tag[:LO_LENGTH] for tag in tags_of(hit)])
    made.add_new(base | BUNDLE, "LO", bundle[:LO_LENGTH])
