"""From an error to a status of a response. No other file of this room knows a code.

C-STORE:

| status | meaning                                    | source                |
|--------|--------------------------------------------|-----------------------|
| 0x0000 | Success                                    | PS3.4 table B.2-1     |
| 0xA700 | Refused: out of resources                  | PS3.4 table B.2-1     |
| 0xA900 | Error: data set does not match SOP class   | PS3.4 table B.2-1     |
| 0xC000 | Error: cannot understand                   | PS3.4 table B.2-1     |
| 0x0110 | Processing failure                         | PS3.7 section C.5.14  |
| 0x0111 | Duplicate SOP instance                     | PS3.7 section C.5.8   |
| 0x0117 | Invalid object instance                    | PS3.7 section C.5.11  |
| 0x0122 | SOP class not supported                    | PS3.7 section C.5.20  |

C-FIND:

| status | meaning                                    | source                |
|--------|--------------------------------------------|-----------------------|
| 0x0000 | Success: all matches were told             | PS3.4 table C.4-1     |
| 0xFF00 | Pending: a match                           | PS3.4 table C.4-1     |
| 0xFF01 | Pending: a match; some keys not supported  | PS3.4 table C.4-1     |
| 0xFE00 | Cancel                                     | PS3.4 table C.4-1     |
| 0xA700 | Refused: out of resources                  | PS3.4 table C.4-1     |
| 0xA900 | Error: identifier does not match SOP class | PS3.4 table C.4-1     |
| 0xC000 | Error: unable to process                   | PS3.4 table C.4-1     |
"""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.errors import (
    DatabaseUnavailableError,
    InferenceUnavailableError,
    InputError,
    InstanceConflictError,
    M3BindError,
    StorageError,
    StorageFullError,
    UnsupportedObjectError,
)

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
DOES_NOT_MATCH = 0xA900
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE = 0x0110
DUPLICATE_INSTANCE = 0x0111
INVALID_INSTANCE = 0x0117
CLASS_NOT_SUPPORTED = 0x0122
PENDING = 0xFF00
PENDING_WITHOUT_SOME_KEYS = 0xFF01
CANCELLED = 0xFE00
UNABLE_TO_PROCESS = 0xC000


class BusyError(M3BindError):
    """Not now: too much is asked at once, or a part is still starting. The same request may succeed later."""


BY_REASON: dict[str, int] = {
    "class-mismatch": DOES_NOT_MATCH,
    "instance-mismatch": DOES_NOT_MATCH,
    "bad-uid": INVALID_INSTANCE,
}
"""Reasons of InputError that have a status of their own."""

BY_ERROR: tuple[tuple[type[Exception], int], ...] = (
    (InstanceConflictError, DUPLICATE_INSTANCE),
    (StorageFullError, OUT_OF_RESOURCES),
    # The same request may succeed later, and senders take A7xx for exactly that.
    (DatabaseUnavailableError, OUT_OF_RESOURCES),
    (StorageError, PROCESSING_FAILURE),
    (UnsupportedObjectError, CLASS_NOT_SUPPORTED),
    (InputError, CANNOT_UNDERSTAND),
)
"""The first class that fits decides; anything else is a processing failure."""

COMMENT_LENGTH = 64
"""Error Comment (0000,0902) is an LO."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and comment of a response."""

    status: int
    comment: str

    def to_dataset(self) -> Dataset:
        """(0000,0900) Status and (0000,0902) Error Comment, as pynetdicom takes them from a handler."""
        answer = Dataset()
        answer.Status = self.status
        if self.comment:
            answer.ErrorComment = self.comment
        return answer


def answer_for(error: Exception) -> Answer:
    """What the sender is told about `error`; never the text of an unexpected one."""
    if isinstance(error, InputError) and error.reason in BY_REASON:
        return Answer(BY_REASON[error.reason], _comment(error))
    for kind, status in BY_ERROR:
        if isinstance(error, kind):
            return Answer(status, _comment(error))
    return Answer(PROCESSING_FAILURE, "internal error; the receiver's log tells more")


FIND_BY_REASON: dict[str, int] = {
    "no-level": DOES_NOT_MATCH,
    "wrong-level": DOES_NOT_MATCH,
    "no-unique-key": DOES_NOT_MATCH,
}
"""Reasons of QuestionError that have a status of their own in a C-FIND response."""

FIND_BY_ERROR: tuple[tuple[type[Exception], int], ...] = (
    # The same question may be answered later.
    (DatabaseUnavailableError, OUT_OF_RESOURCES),
    (InferenceUnavailableError, OUT_OF_RESOURCES),
    (BusyError, OUT_OF_RESOURCES),
)


def find_answer_for(error: Exception) -> Answer:
    """What the one who asked is told about `error`; never the text of an unexpected one."""
    if isinstance(error, InputError) and error.reason in FIND_BY_REASON:
        return Answer(FIND_BY_REASON[error.reason], _comment(error))
    for kind, status in FIND_BY_ERROR:
        if isinstance(error, kind):
            return Answer(status, _comment(error))
    if isinstance(error, M3BindError):
        return Answer(UNABLE_TO_PROCESS, _comment(error))
    return Answer(UNABLE_TO_PROCESS, "internal error; the log of the node tells more")


def limit_reached(limit: int) -> Answer:
    """There are more matches than are told. The status is the one that may carry a comment (PS3.4 table
    C.4-1); what was told before it stays true."""
    return Answer(OUT_OF_RESOURCES, f"more than {limit} matches: narrow the query")


def still_reading() -> Answer:
    """Some objects were not looked at, as their headers have yet to be read."""
    return Answer(OUT_OF_RESOURCES, "headers of older objects are still being read: ask again")


def _comment(error: Exception) -> str:
    """The message as an LO: ASCII without a backslash, 64 characters at most."""
    text = str(error).encode("ascii", "replace").decode("ascii").replace("\\", "/")
    return " ".join(text.split())[:COMMENT_LENGTH].rstrip()
