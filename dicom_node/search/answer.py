"""A question asked of the archive: parsed, drawn from the index, judged, told with its reasons.

    Request --parse--> Question --draw, by modality--> rows --judge--> Hits, best first

Every modality is drawn from by itself: by the vector of all statements together, by each scored finding's
probability, and by the example where there is one. What was drawn is then judged statement by statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from dicom_node.errors import QuestionError
from dicom_node.search.centres import Centres
from dicom_node.search.coverage import Coverage
from dicom_node.search.dates import Days
from dicom_node.search.directions import Directions
from dicom_node.search.draw import Draughtsman, Drawn
from dicom_node.search.example import Example, Seen, find_example, given_example
from dicom_node.search.fields import read_range
from dicom_node.search.filters import knows_elsewhere, modalities_of, silent_traits, to_filters
from dicom_node.search.notes import notes_on, why_empty
from dicom_node.search.ports import Index, Speaker
from dicom_node.search.query import parse
from dicom_node.search.question import Question, Reason
from dicom_node.search.rank import Judged, answers, score
from dicom_node.search.suggest import Suggestions
from dicom_node.search.terms import Term, terms_of
from dicom_node.search.vocabulary import Phrases, Vocabulary, Years
from dicom_node.store.search_facts import Candidate, Filters, Level, Region

MOST = 200
"""Answers to one question."""
MOST_REGIONS = 2000
"""Rows that are looked through for the regions of all answers."""
_NO_FILTERS: dict[str, Any] = {"sexes": (), "years": None, "days": None, "body_parts": (), "sides": ()}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, and at the door: what the door's own fields say beside the words."""

    text: str = ""
    """Patient data: never logged, never kept."""
    modalities: tuple[str, ...] = ()
    """Ids of the bundle or DICOM codes."""
    days: Days | None = None
    sexes: tuple[str, ...] = ()
    """`M`, `F`, `O` as in (0010,0040)."""
    years: Years | None = None
    similar_to: str | None = None
    """Study or Series Instance UID."""
    seen: tuple[Seen, ...] = field(default=(), compare=False)
    """An example that is not in the archive, instead of `similar_to`."""
    limit: int = 20

    @property
    def says_something(self) -> bool:
        """Whether anything but the words says what is asked."""
        return bool(self.modalities or self.days or self.sexes or self.years or self.similar_to or self.seen)


@dataclass(frozen=True, slots=True)
class Hit:
    """A study that answers."""

    row: Candidate
    """Its series that speaks most for it."""
    score: float | None
    """0 to 1; None where nothing was asked that could be better or worse, and where the likeness of words
    alone ranks, which is no probability."""
    why: tuple[Judged, ...]
    """Every statement, in the order of the question."""
    similarity: float | None
    """To the example: cosine of both, centred; None where there is none."""
    regions: tuple[Region, ...]
    """Where the node saw what was asked to be there."""
    silent: tuple[str, ...]
    """What was asked of the object and the object does not tell: `body part`, `side`."""
    rank: float = 0.0
    """What it is sorted by."""

    @property
    def by_likeness(self) -> bool:
        """Whether no finding that the node scored speaks for it, but the likeness of words alone."""
        return bool(self.why) and not any(one.accepted and one.probability is not None for one in self.why)


@dataclass(frozen=True, slots=True)
class Answer:
    """All that is said to a question."""

    question: Question
    hits: tuple[Hit, ...]
    """Best first."""
    notes: tuple[str, ...]
    """For people: what was not used, or only partly. No patient data."""
    not_covered: int
    """Studies that another bundle looked at last: they do not answer until they are embedded again."""


class Searcher:
    """Questions to one archive, answered by one bundle. Safe to use from several threads."""

    def __init__(
        self,
        index: Index,
        speaker: Speaker,
        vocabulary: Vocabulary,
        today: Callable[[], date] = date.today,
    ) -> None:
        self._index = index
        self._speaker = speaker
        self._vocabulary = vocabulary
        self._terms: Phrases[Term] = terms_of(speaker.entries, vocabulary, speaker.scored)
        self._suggestions = Suggestions(speaker.entries, vocabulary, self._terms)
        self._centres = Centres(index, speaker.identity.digest)
        self._coverage = Coverage(index, speaker.identity)
        directions = Directions(speaker, vocabulary.frames)
        self._draughtsman = Draughtsman(index, speaker, directions, self._centres)
        self._today = today

    def ask(self, request: Request) -> Answer:
        """The studies that answer, best first, at most `request.limit` of them.

        Raises QuestionError where the question cannot be understood or the example is unknown,
        DatabaseUnavailableError, InferenceError.
        """
        question = self.understand(request)
        example = given_example(self._centres, request.seen) if request.seen else None
        if request.similar_to is not None:
            example = find_example(self._index, self._centres, self._speaker, request.similar_to)
        chosen = modalities_of(question, self._speaker)
        best = self._best(question, example, chosen, min(request.limit, MOST))
        notes = notes_on(question, self._speaker, chosen, self._suggestions)
        if not best:
            notes += self._why_empty(question, example, chosen)
        return Answer(question, self._with_regions(best), notes, self._coverage.missing())

    def _best(
        self, question: Question, example: Example | None, chosen: Sequence[str], limit: int
    ) -> list[Hit]:
        filters = to_filters(question, self._speaker, None if example is None else example.study_uid)
        found = [
            drawn
            for modality in chosen
            for drawn in self._draughtsman.draw(question, example, modality, filters, limit)
        ]
        return _best([_hit(question, drawn) for drawn in found if answers(_groups(question, drawn))], limit)

    def _why_empty(
        self, question: Question, example: Example | None, chosen: Sequence[str]
    ) -> tuple[str, ...]:
        """What a note says where only what filters stands against an answer."""
        loose = replace(question, wanted=replace(question.wanted, **_NO_FILTERS))
        if loose == question or not question.all_of:
            return ()
        found = self._best(loose, example, chosen, MOST)
        count = sum(1 for hit in found if not hit.by_likeness)
        return (why_empty(question, self._speaker, count, MOST),) if count else ()

    def understand(self, request: Request) -> Question:
        """The question alone, with what the door's own fields add. Raises QuestionError."""
        question = Question()
        if request.text.strip() or not request.says_something:
            question = parse(request.text, self._vocabulary, self._terms, self._today())
        wanted = question.wanted
        days = wanted.days
        if request.days is not None:
            days = request.days if days is None else days.within(request.days)
            if days.empty:
                raise QuestionError(Reason.EMPTY_DATES, "No day is in both dates. Name one range.")
        ids, codes = self._named(request.modalities)
        if ids or codes:
            wanted = replace(wanted, modalities=ids, codes=codes)
        if request.sexes:
            wanted = replace(wanted, sexes=request.sexes)
        if request.years is not None:
            wanted = replace(wanted, years=request.years)
        return replace(question, wanted=replace(wanted, days=days))

    def days(self, text: str) -> Days:
        """The days that a door's field for dates tells. Raises QuestionError."""
        return read_range(text, self._vocabulary, self._today())

    def _named(self, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(ids of the bundle, codes that it has no encoder for) that a door's field names."""
        ids: dict[str, None] = {}
        codes: dict[str, None] = {}
        for name in names:
            known = [m for m in self._vocabulary.modalities if m.id is not None and name in m.codes]
            if name in self._speaker.modalities:
                ids[name] = None
            elif known:
                ids |= {m.id: None for m in known if m.id is not None}
            else:
                codes[name] = None
        return tuple(ids), tuple(codes)

    def _with_regions(self, hits: Sequence[Hit]) -> tuple[Hit, ...]:
        """With the regions of the findings that shall be there."""
        wanted = {
            judged.finding.id
            for hit in hits
            for judged in hit.why
            if judged.finding is not None and judged.statement.present
        }
        if not wanted:
            return tuple(hits)
        studies = tuple(hit.row.study_uid for hit in hits)
        filters = Filters(self._speaker.identity.digest, Level.REGION, study_uids=studies, in_scope=None)
        regions: dict[str, list[Candidate]] = {}
        for row in self._index.newest(filters, MOST_REGIONS):
            if row.region is not None and row.region.finding_id in wanted:
                regions.setdefault(row.study_uid, []).append(row)
        return tuple(
            replace(
                hit, regions=tuple(row.region for row in regions.get(hit.row.study_uid, ()) if row.region)
            )
            for hit in hits
        )


def _groups(question: Question, drawn: Drawn) -> list[list[Judged]]:
    """The judged statements as the question groups them. Where the modality knows one of several
    alternatives, or of the kinds of a general name, those that only others know do not speak."""
    left = iter(drawn.judged)
    groups = [[next(left) for _ in group.any_of] for group in question.all_of]
    kept = [[one for one in group if not _is_elsewhere(question, drawn, one, group)] for group in groups]
    return [group for group in kept if group]


def _is_elsewhere(question: Question, drawn: Drawn, judged: Judged, group: Sequence[Judged]) -> bool:
    statement = judged.statement
    if judged.finding is not None:
        return False
    if statement.is_kind:
        return any(other.finding is not None and other.statement.is_kind for other in drawn.judged)
    known = any(other.finding is not None for other in group)
    return known and knows_elsewhere(question, statement, str(drawn.row.modality))


def _hit(question: Question, drawn: Drawn) -> Hit:
    groups = _groups(question, drawn)
    said = bool(drawn.judged) or drawn.similarity is not None
    told = score(groups, drawn.similarity) if said else None
    why = tuple(one for group in groups for one in group)
    silent = silent_traits(question, drawn.row)
    hit = Hit(drawn.row, told, why, drawn.similarity, (), silent, 0.0 if told is None else told)
    return replace(hit, score=None) if hit.by_likeness else hit


def _best(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The best `limit` studies, each once; without a score the newest."""

    def order(hit: Hit) -> tuple[float, float, int]:
        likeness = sum(j.likeness if j.statement.present else -j.likeness for j in hit.why)
        newest = 0 if hit.row.study_date is None else hit.row.study_date.toordinal()
        return -hit.rank, -likeness, -newest

    studies: dict[str, Hit] = {}
    for hit in sorted(hits, key=order):
        studies.setdefault(hit.row.study_uid, hit)
    return list(studies.values())[:limit]
