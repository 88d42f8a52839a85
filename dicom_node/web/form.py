"""The search box and its filters: what a browser sends, and what is asked by it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query

from dicom_node.errors import QuestionError
from dicom_node.search.answer import Request
from dicom_node.search.dates import Days
from dicom_node.search.query import LONGEST
from dicom_node.search.question import Reason
from dicom_node.search.vocabulary import Years
from dicom_node.uids import is_uid

SEXES = {"F": "female", "M": "male", "O": "other"}
"""(0010,0040), in words."""
OLDEST = 130
MODALITY = re.compile(r"[A-Za-z0-9_]{1,32}")
CODE = re.compile(r"[A-Z0-9_]{1,16}")
"""A value of (0008,0060), PS3.5 section 6.2 (CS)."""
LIMIT = 20
"""Answers on a page."""
LARGEST = 100
"""Answers that a page shows at most: each has a picture."""

Text = Annotated[str, Query(max_length=LONGEST)]
Field = Annotated[str, Query(max_length=100)]
Fields = Annotated[list[str], Query(max_length=16)]


@dataclass(frozen=True, slots=True)
class Form:
    """As it was sent: every field may hold anything."""

    q: str = ""
    modalities: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    sex: str = ""
    age_from: str = ""
    age_to: str = ""
    similar_to: str = ""
    limit: int = LIMIT

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked."""
        return replace(self, limit=LIMIT) == EMPTY

    def address(self, **changes: Any) -> str:
        """The address of the page that asks this, with changes."""
        fields = asdict(replace(self, **changes))
        fields["modality"] = fields.pop("modalities")
        left = {name: value for name, value in fields.items() if value not in ("", ())}
        if left["limit"] == LIMIT:
            del left["limit"]
        return f"/search?{urlencode(left, doseq=True)}"


EMPTY = Form()


def form(
    q: Text = "",
    modality: Fields = [],  # noqa: B006 - FastAPI copies it
    since: Field = "",
    until: Field = "",
    sex: Field = "",
    age_from: Field = "",
    age_to: Field = "",
    similar_to: Field = "",
    limit: Annotated[int, Query(ge=1, le=LARGEST)] = LIMIT,
) -> Form:
    """The form of a request; FastAPI calls it. A modality may be a list separated by commas, too."""
    named = tuple(name for field in modality for name in field.split(",") if name)
    return Form(
        q=q,
        modalities=named,
        since=since.strip(),
        until=until.strip(),
        sex=sex.strip(),
        age_from=age_from.strip(),
        age_to=age_to.strip(),
        similar_to=similar_to.strip(),
        limit=limit,
    )


def request_of(form: Form) -> Request:
    """What a form asks. Raises QuestionError with words for people."""
    if form.similar_to and not is_uid(form.similar_to):
        raise QuestionError(Reason.UNKNOWN_EXAMPLE, "The example is not a UID. Take it from a study's page.")
    if form.sex and form.sex not in SEXES:
        raise QuestionError("unknown-sex", "Choose female, male or other.")
    if not all(MODALITY.fullmatch(name) for name in form.modalities):
        raise QuestionError("unknown-modality", "A modality is a short word, such as xray or DX.")
    return Request(
        text=form.q,
        modalities=form.modalities,
        days=_days(form),
        sexes=(form.sex,) if form.sex else (),
        years=years_of(form.age_from, form.age_to),
        similar_to=form.similar_to or None,
        limit=form.limit,
    )


def _days(form: Form) -> Days | None:
    if not form.since and not form.until:
        return None
    days = Days(_day(form.since), _day(form.until))
    if days.empty:
        raise QuestionError(Reason.EMPTY_DATES, "The first date is after the last. Exchange them.")
    return days


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise QuestionError("unknown-date", "A date is written like this: 2024-01-31.") from None


def sexes_of(text: str) -> tuple[str, ...]:
    """`F,M` of an address. Raises QuestionError."""
    named = tuple(name for name in text.split(",") if name)
    if not set(named) <= set(SEXES):
        raise QuestionError("unknown-sex", "sex is F, M or O (female, male, other), or several with commas.")
    return named


def modalities_of(text: str, known: Sequence[str]) -> tuple[str, ...]:
    """`xray,DX` of an address: ids of the bundle (`known`), and DICOM codes. Raises QuestionError."""
    named = tuple(name for name in text.split(",") if name)
    if not all(name in known or CODE.fullmatch(name) for name in named):
        raise QuestionError(
            "unknown-modality",
            f"modality is one of {', '.join(known)}, or a code of DICOM in capitals, such as DX; or several "
            "with commas.",
        )
    return named


def years_of(least: str, most: str) -> Years | None:
    """Whole years, both included: who is asked for up to 60 may be 60 and a half. Raises QuestionError."""
    if not least and not most:
        return None
    ages = [None if not text else _age(text) for text in (least, most)]
    first, last = ages
    if first is not None and last is not None and first > last:
        raise QuestionError(Reason.EMPTY_AGES, "The lower age is above the upper. Exchange them.")
    return Years(first, None if last is None else last + 1)


def _age(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= OLDEST):
        raise QuestionError("unknown-age", f"An age is a whole number of years, {OLDEST} at most.")
    return int(text)
