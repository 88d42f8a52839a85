"""Answers to a question as the page shows them. Pure: facts in, words, numbers and addresses out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dicom_node.facts import SIDES, finding_name
from dicom_node.records import Presence
from dicom_node.search.answer import Hit
from dicom_node.search.question import Question
from dicom_node.search.rank import Judged
from dicom_node.search.told import BY_LIKENESS
from dicom_node.web.form import LIMIT, SEXES, Form
from dicom_node.web.titles import UNKNOWN, Title
from dicom_node.web.views import PRESENCE_ORDER, modality_name, percent

Sizes = Mapping[str, tuple[float, float]]
"""(rows, columns) by SOP Instance UID."""
Noticed = Mapping[str, Sequence[Mapping[str, Any]]]
"""Findings that are not absent, in their JSON form, by study."""

RECORDING = (5.0, 10.0)
"""(rows, columns) of the picture of a recording, whose regions are told in seconds."""
MOST_PICTURES = 6
"""On a study's page."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A region, to be laid over a picture."""

    name: str
    points: str
    """Of an SVG polygon, in source pixels; of a recording in seconds."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A small picture with what was seen in it."""

    src: str
    rows: float
    columns: float
    outlines: tuple[Outline, ...]

    @property
    def seen(self) -> str:
        """What is outlined, in words; empty where nothing is."""
        return ", ".join(dict.fromkeys(outline.name for outline in self.outlines))


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding of the study, and who else has it."""

    name: str
    percent: str
    presence: str
    address: str


@dataclass(frozen=True, slots=True)
class Why:
    """One statement of the question, and what speaks for it."""

    asked: str
    told: str
    presence: str
    """`present`, `unsure`, `absent`, or `unscored`."""


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One study that answers."""

    study_uid: str
    title: Title
    day: str
    modality: str
    person: str
    """`female, 71 years`; empty where the object does not tell."""
    score: str
    by_likeness: bool
    """Whether `score` is none, as the likeness of words alone ranks."""
    marks: tuple[Mark, ...]
    why: tuple[Why, ...]
    not_told: str
    picture: Picture
    more: str
    """Address of studies like this one."""
    elsewhere: str | None
    """Address of the same finding in other modalities; None where the bundle has no other."""
    elsewhere_words: str


def answer_row(
    hit: Hit,
    form: Form,
    modalities: Sequence[str],
    titles: Mapping[str, Title],
    noticed: Noticed,
    sizes: Sizes,
) -> AnswerRow:
    """One answer; `modalities` are those of the bundle."""
    row = hit.row
    findings = noticed.get(row.study_uid, ())
    others = tuple(name for name in modalities if name != row.modality)
    finding = _foremost(hit, findings)
    title = titles.get(row.study_uid, UNKNOWN)
    like = Form(similar_to=row.study_uid)
    same = like if finding is None else Form(q=finding)
    return AnswerRow(
        study_uid=row.study_uid,
        title=title,
        day=title.day if row.study_date is None else row.study_date.isoformat(),
        modality=modality_name(row.modality),
        person=_person(row.sex, row.age),
        score=score_words(hit, by_example=bool(form.similar_to)),
        by_likeness=hit.by_likeness,
        marks=_marks(findings),
        why=tuple(_why(judged) for judged in hit.why),
        not_told=", ".join(hit.silent),
        picture=_picture_of(hit, findings, sizes),
        more=like.address(),
        elsewhere=same.address(modalities=others) if others else None,
        elsewhere_words="Alike in other modalities"
        if finding is None
        else "Same finding in other modalities",
    )


def score_words(hit: Hit, *, by_example: bool) -> str:
    """How well it answers; empty where nothing was asked that could be better or worse."""
    told = []
    if hit.by_likeness:
        told.append(BY_LIKENESS)
    elif hit.why and hit.score is not None:
        told.append(f"{percent(hit.score)} that all of it is so")
    if hit.similarity is not None:
        told.append(f"likeness {hit.similarity:.2f}")
    return ", ".join(reversed(told) if by_example else told)


def sources_of(hits: Sequence[Hit], noticed: Noticed) -> list[str]:
    """SOP Instance UIDs of all regions that may be outlined."""
    places = [region.place for hit in hits for region in hit.regions]
    places += [place for findings in noticed.values() for f in findings for place in f["evidence"]]
    return [place["source"]["sop_instance_uid"] for place in places]


def understood(question: Question) -> tuple[str, ...]:
    """How a question was read, part by part."""
    told = [" or ".join(statement.words for statement in group.any_of) for group in question.all_of]
    wanted = question.wanted
    if wanted.sexes:
        told.append(" or ".join(SEXES.get(sex, sex) for sex in wanted.sexes))
    if wanted.years is not None:
        least, below = wanted.years.least, wanted.years.below
        told += [f"{least:g} years or older"] if least is not None else []
        told += [f"younger than {below:g} years"] if below is not None else []
    if wanted.days is not None:
        first, last = wanted.days.first, wanted.days.last
        told += [f"from {first}"] if first is not None else []
        told += [f"until {last}"] if last is not None else []
    if wanted.modalities or wanted.codes:
        told.append(" or ".join([*map(modality_name, wanted.modalities), *wanted.codes]))
    told += [f"not {modality_name(name)}" for name in wanted.not_modalities]
    told += [f"body part {part.lower()}" for part in wanted.body_parts]
    told += [f"side: {SIDES.get(side, side)}" for side in wanted.sides]
    return tuple(told)


def pictures_of_study(study_uid: str, assessment: Mapping[str, Any], sizes: Sizes) -> tuple[Picture, ...]:
    """Each image in which something was seen, and one of every series that has none."""
    seen: dict[tuple[str, int | None], list[Outline]] = {}
    with_evidence = set()
    for finding in assessment["findings"]:
        for place in finding["evidence"] if finding["presence"] != "absent" else ():
            source = place["source"]
            key = (source["sop_instance_uid"], source.get("frame"))
            seen.setdefault(key, []).extend(_outlines(finding_name(finding), place))
            with_evidence.add(finding["series_uid"])
    pictures = [
        _picture(study_uid, outlines, sizes, instance=instance, frame=frame)
        for (instance, frame), outlines in seen.items()
    ]
    pictures += [
        _picture(study_uid, (), sizes, series=series)
        for series in dict.fromkeys(view["series_uid"] for view in assessment["views"])
        if series not in with_evidence
    ]
    return tuple(pictures[:MOST_PICTURES])


def _foremost(hit: Hit, findings: Sequence[Mapping[str, Any]]) -> str | None:
    """The name of the finding that was asked for, or of the study's most probable one."""
    asked = [j.finding.name for j in hit.why if j.finding is not None and j.statement.present]
    present = [f for f in findings if f["presence"] == Presence.PRESENT]
    best = max(present, key=lambda f: float(f["probability"]), default=None)
    return asked[0] if asked else None if best is None else str(best["name"])


def _person(sex: str | None, age: float | None) -> str:
    told = [] if sex is None else [SEXES.get(sex, sex)]
    if age is not None:
        told.append(f"{int(age)} years" if age >= 2 else f"{int(age * 12)} months")
    return ", ".join(told)


def _marks(findings: Sequence[Mapping[str, Any]]) -> tuple[Mark, ...]:
    ordered = sorted(findings, key=lambda f: (PRESENCE_ORDER[f["presence"]], -f["probability"]))
    return tuple(
        Mark(
            finding_name(finding),
            percent(finding["probability"]),
            str(finding["presence"]),
            Form(q=str(finding["name"])).address(),
        )
        for finding in ordered
    )


def _why(judged: Judged) -> Why:
    finding, said = judged.finding, judged.presence
    if finding is None or judged.probability is None or said is None:
        return Why(judged.statement.words, f"not scored; likeness {judged.likeness:+.1f}", "unscored")
    return Why(
        judged.statement.words,
        f"{finding.name} {said.value}, {percent(judged.probability)}",
        said.value,
    )


def _picture_of(hit: Hit, findings: Sequence[Mapping[str, Any]], sizes: Sizes) -> Picture:
    """Of the object that what was asked for was seen in, else of that of any finding, else of the series."""
    names = {f["id"]: finding_name(f) for f in findings}
    names |= {j.finding.id: j.finding.name for j in hit.why if j.finding is not None}
    places = [(names.get(region.finding_id, ""), region.place) for region in hit.regions]
    if not places:
        places = [(names[f["id"]], place) for f in findings for place in f["evidence"]]
    study, series = hit.row.study_uid, hit.row.series_uid
    if not places:
        return _picture(study, (), sizes, series=series)
    source = places[0][1]["source"]
    outlines = [o for name, place in places if place["source"] == source for o in _outlines(name, place)]
    instance = source["sop_instance_uid"]
    return _picture(study, outlines, sizes, instance=instance, frame=source.get("frame"))


def _picture(
    study_uid: str,
    outlines: Sequence[Outline],
    sizes: Sizes,
    *,
    series: str | None = None,
    instance: str | None = None,
    frame: int | None = None,
) -> Picture:
    fields = {"series": series, "instance": instance, "frame": frame}
    query = urlencode({name: value for name, value in fields.items() if value is not None})
    rows, columns = sizes.get(instance or "", (0.0, 0.0))
    if not rows and outlines:
        rows, columns = RECORDING
    return Picture(f"/studies/{study_uid}/thumbnail?{query}", rows, columns, tuple(outlines))


def _outlines(name: str, place: Mapping[str, Any]) -> list[Outline]:
    if place.get("outline"):
        return [Outline(name, " ".join(f"{x:g},{y:g}" for x, y in place["outline"]))]
    if place.get("span"):
        height, width = RECORDING
        start, end = (min(max(float(second), 0.0), width) for second in place["span"])
        if start < end:
            return [Outline(name, f"{start:g},0 {end:g},0 {end:g},{height:g} {start:g},{height:g}")]
    return []


def more_of(form: Form, shown: int, most: int) -> str | None:
    """Address of the same question with more answers; None where there are no more."""
    if shown < form.limit or form.limit >= most:
        return None
    return form.address(limit=min(most, form.limit + 2 * LIMIT))
