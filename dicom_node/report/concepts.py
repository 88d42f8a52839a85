"""Codes as highdicom wants them."""

from __future__ import annotations

from highdicom.sr import CodedConcept

from dicom_node.errors import ReportError
from dicom_node.records import Code

MAX_MEANING = 64
"""Characters of Code Meaning (0008,0104), LO."""
MAX_SCHEME = 16
"""Characters of Coding Scheme Designator (0008,0102), SH."""


def concept(code: Code) -> CodedConcept:
    """A Code Sequence item (PS3.3 section 8.8). A value of more than 16 characters goes into Long Code Value;
    a meaning of more than 64 is cut, with an ellipsis: it is only there to be read, the value is the code.

    Raises ReportError for a code without value, scheme or meaning, or with a scheme beyond 16 characters.
    """
    if not (code.value and code.scheme and code.meaning):
        raise ReportError(f"An incomplete code cannot be reported: {code}")
    if len(code.scheme) > MAX_SCHEME:
        raise ReportError(f"Coding scheme '{code.scheme}' has more than {MAX_SCHEME} characters")
    meaning = code.meaning if len(code.meaning) <= MAX_MEANING else code.meaning[: MAX_MEANING - 3] + "..."
    return CodedConcept(value=code.value, scheme_designator=code.scheme, meaning=meaning)
