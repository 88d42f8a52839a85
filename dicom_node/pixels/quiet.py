"""Keep pydicom's remarks on odd files to ourselves: they quote values, and values may be patient data."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from types import TracebackType

from pydicom.errors import InvalidDicomError

PARSE_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    InvalidDicomError,
    LookupError,
    MemoryError,
    RuntimeError,  # NotImplementedError and RecursionError too
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and the codecs raise on broken input. OSError is not here: a file that cannot be opened is no
fault of its content."""


class _Quiet:
    """Context manager, safe to enter from many threads at once.

    Warning filters and logger levels belong to the whole process, and `warnings.catch_warnings` restores the
    wrong ones when threads leave it out of order. So the first to enter changes them and the last to leave
    puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()
        self._level = logging.NOTSET

    def __enter__(self) -> None:
        logger = logging.getLogger("pydicom")
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._level = logger.level
                logger.setLevel(logging.CRITICAL + 1)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(kind, error, trace)
                logging.getLogger("pydicom").setLevel(self._level)


quiet = _Quiet()
"""`with quiet:` around every call that lets pydicom read."""
