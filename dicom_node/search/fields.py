"""Dates as a door's own field tells them: `20240101-20240131`, `20240101-`, `2024-01-01/2024-01-31`, words.

The first two are DICOM's range matching (PS3.4 C.2.2.2.5), the third is ISO 8601's interval.
"""

from __future__ import annotations

from datetime import date

from dicom_node.errors import QuestionError
from dicom_node.search.dates import Days, read_days
from dicom_node.search.vocabulary import Vocabulary


def read_range(text: str, vocabulary: Vocabulary, today: date) -> Days:
    """Raises QuestionError where it is no date or range, or one that ends before it begins."""
    whole = text.strip()
    if whole.endswith("-"):
        return Days(_days(whole[:-1], vocabulary, today).first, None)
    if whole.startswith("-"):
        return Days(None, _days(whole[1:], vocabulary, today).last)
    first, slash, last = whole.partition("/")
    if slash and "/" not in last:
        days = Days(_days(first, vocabulary, today).first, _days(last, vocabulary, today).last)
    else:
        days = _days(whole, vocabulary, today)
    if days.empty:
        raise _refused()
    return days


def _days(text: str, vocabulary: Vocabulary, today: date) -> Days:
    tokens = vocabulary.tokens(text)
    found = read_days(tokens, 0, vocabulary.dates, today) if tokens else None
    if found is None or found[1] != len(tokens):
        raise _refused()
    return found[0]


def _refused() -> QuestionError:
    return QuestionError(
        "unknown-date",
        "The date is not understood. Write 2024-01-31, 20240101-20240131, 2024-01-01/2024-01-31, "
        "`since 2024-01` or `last month`.",
    )
