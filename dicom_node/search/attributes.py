"""What filters, from all items of a question."""

from __future__ import annotations

from collections.abc import Sequence

from dicom_node.errors import QuestionError
from dicom_node.search.ages import empty, within
from dicom_node.search.dates import Days
from dicom_node.search.items import Item, Polarity
from dicom_node.search.lexemes import Lexeme
from dicom_node.search.question import Reason, Wanted
from dicom_node.search.vocabulary import BodyPart, ImageSide, Modality, Sex, Side, Years


def gather(items: Sequence[Item]) -> Wanted:
    """All attributes. Ages and dates must all hold; of sexes, modalities, body parts and sides any will do.

    Raises QuestionError where nobody could fulfil them, or where an attribute is excluded that cannot be.
    """
    gathered = _Gathered()
    for item in items:
        excluded = item.polarity is Polarity.DENIED and not item.has_content
        for lexeme in item.attributes:
            if excluded:
                gathered.exclude(lexeme)
            else:
                gathered.add(lexeme)
    return gathered.wanted()


class _Gathered:
    def __init__(self) -> None:
        self._sexes: dict[str, None] = {}
        self._years: Years | None = None
        self._days: Days | None = None
        self._modalities: dict[str, None] = {}
        self._codes: dict[str, None] = {}
        self._not_modalities: dict[str, None] = {}
        self._body_parts: dict[str, None] = {}
        self._sides: dict[str, None] = {}

    def add(self, lexeme: Lexeme) -> None:
        match lexeme.meaning:
            case Sex(codes, years):
                self._sexes |= dict.fromkeys(codes)
                if years is not None:
                    self._add_years(years, lexeme)
            case Years() as years:
                self._add_years(years, lexeme)
            case Days() as days:
                self._add_days(days, lexeme)
            case Modality(identifier, codes):
                if identifier is None:
                    self._codes |= dict.fromkeys(codes)
                else:
                    self._modalities[identifier] = None
            case BodyPart(codes):
                self._body_parts |= dict.fromkeys(codes)
            case ImageSide(code) | Side(code):
                self._sides[code] = None
            case _:
                raise TypeError(f"{lexeme.meaning} is no attribute")

    def exclude(self, lexeme: Lexeme) -> None:
        if isinstance(lexeme.meaning, Modality) and lexeme.meaning.id is not None:
            self._not_modalities[lexeme.meaning.id] = None
            return
        raise QuestionError(
            Reason.EXCLUDED_ATTRIBUTE,
            "Only findings and modalities can be left out. Say which sex, age, date or part you want.",
            lexeme.span,
        )

    def _add_years(self, years: Years, lexeme: Lexeme) -> None:
        self._years = within(self._years, years)
        if empty(self._years):
            raise QuestionError(
                Reason.EMPTY_AGES,
                "Nobody is of all the ages that are asked for. Name one range.",
                lexeme.span,
            )

    def _add_days(self, days: Days, lexeme: Lexeme) -> None:
        self._days = days if self._days is None else self._days.within(days)
        if self._days.empty:
            raise QuestionError(
                Reason.EMPTY_DATES,
                "No day is in all the dates that are asked for. Name one range.",
                lexeme.span,
            )

    def wanted(self) -> Wanted:
        both = len(self._sexes) > 1
        return Wanted(
            sexes=() if both else tuple(self._sexes),
            years=self._years,
            days=self._days,
            modalities=tuple(self._modalities),
            codes=tuple(self._codes),
            not_modalities=tuple(m for m in self._not_modalities if m not in self._modalities),
            body_parts=tuple(self._body_parts),
            sides=tuple(self._sides),
        )
