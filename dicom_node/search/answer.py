"""A question asked of the archive: parsed, drawn from the index, judged, told with its reasons.

    Request --parse--> Question --draw, by modality--> rows --judge--> Hits, best first

Every modality is drawn from by itself: by the vector of all statements together, by each scored finding's
probability, and by the example where there is one. What was drawn is then judged statement by statement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from dicom_node.errors import QuestionError
from dicom_node.search.centres import Centres
from dicom_node.search.coverage import Coverage
from dicom_node.search.dates import Days
from dicom_node.search.directions import Directions
from dicom_node.search.draw import Draughtsman, Drawn
from dicom_node.search.example import Seen, find_example, given_example
from dicom_node.search.fields import read_range
from dicom_node.search.filters import modalities_of, silent_traits, to_filters
from dicom_node.search.notes import notes_on
from dicom_node.search.ports import Index, Speaker
from dicom_node.search.query import parse
from dicom_node.search.question import Question, Reason
from dicom_node.search.rank import Judged, answers, score
from dicom_node.search.terms import Term, terms_of
from dicom_node.search.vocabulary import Phrases, Vocabulary, Years
from dicom_node.store.search_facts import Candidate, Filters, Level, Region

MOST = 200
"""Answers to one question."""
MOST_REGIONS = 2000
"""Rows that are looked through for the regions of all answers."""


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
    """0 to 1; None where nothing was asked that could be better or worse."""
    why: tuple[Judged, ...]
    """Every statement, in the order of the question."""
    similarity: float | None
    """To the example: cosine of both, centred; None where there is none."""
    regions: tuple[Region, ...]
    """Where the node saw what was asked to be there."""
    silent: tuple[str, ...]
    """What was asked of the object and the object does not tell: `body part`, `side`."""


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
        self._terms: Phrases[Term] = terms_of(speaker.entries, vocabulary)
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
        filters = to_filters(question, self._speaker, None if example is None else example.study_uid)
        limit = min(request.limit, MOST)
        found = [
            drawn
            for modality in chosen
            for drawn in self._draughtsman.draw(question, example, modality, filters, limit)
        ]
        hits = [_hit(question, drawn) for drawn in found if answers(_groups(question, drawn.judged))]
        best = _best(hits, limit)
        return Answer(
            question=question,
            hits=self._with_regions(best),
            notes=notes_on(question, self._speaker, chosen),
            not_covered=self._coverage.missing(),
        )

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


def _groups(question: Question, judged: Sequence[Judged]) -> list[list[Judged]]:
    """The judged statements as the question groups them."""
    left = iter(judged)
    return [[next(left) for _ in group.any_of] for group in question.all_of]


def _hit(question: Question, drawn: Drawn) -> Hit:
    said = bool(drawn.judged) or drawn.similarity is not None
    told = score(_groups(question, drawn.judged), drawn.similarity) if said else None
    return Hit(drawn.row, told, drawn.judged, drawn.similarity, (), silent_traits(question, drawn.row))


def _best(hits: Sequence[Hit], limit: int) -> list[Hit]:
    """The best `limit` studies, each once; without a score the newest."""

    def order(hit: Hit) -> tuple[float, float, int]:
        likeness = sum(j.likeness if j.statement.present else -j.likeness for j in hit.why)
        newest = 0 if hit.row.study_date is None else hit.row.study_date.toordinal()
        return -(hit.score or 0.0), -likeness, -newest

    studies: dict[str, Hit] = {}
    for hit in sorted(hits, key=order):
        studies.setdefault(hit.row.study_uid, hit)
    return list(studies.values())[:limit]
