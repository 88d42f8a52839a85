"""Keep pydicom's remarks on odd files to ourselves: they quote values, and values may be patient data."""

from __future__ import annotations

import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from PIL.Image import DecompressionBombError
from pydicom.errors import BytesLengthException, InvalidDicomError

from dicom_node.errors import InputError, UnreadableObjectError

PARSE_ERRORS: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BufferError,
    BytesLengthException,
    DecompressionBombError,
    EOFError,
    InvalidDicomError,
    LookupError,
    RuntimeError,  # NotImplementedError and RecursionError too
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What pydicom and the codecs raise on broken input; and OSError and MemoryError, see `parsing`."""

TOO_LARGE = "It needs more memory than is left: give the node more, or fewer workers. A small file is broken."


_LOGGER = logging.getLogger("pydicom")


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
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
                self._level = _LOGGER.level
                _LOGGER.setLevel(logging.CRITICAL + 1)
            self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(kind, error, trace)
                _LOGGER.setLevel(self._level)


quiet = _Quiet()
"""`with quiet:` around whatever lets pydicom read."""


@contextmanager
def parsing(reason: str, message: str) -> Iterator[None]:
    """Turn whatever pydicom or a codec raises on broken input into UnreadableObjectError, quietly.

    An OSError with a number comes from the file system and passes through; those without are pydicom's and
    Pillow's way of telling broken content. A MemoryError says nothing of the content but that it is too large
    (`too-large`). The cause is not chained: its text may quote values.
    """
    try:
        with quiet:
            yield
    except InputError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnreadableObjectError(reason, message) from None
    except MemoryError:
        raise UnreadableObjectError("too-large", TOO_LARGE) from None
    except PARSE_ERRORS:
        raise UnreadableObjectError(reason, message) from None
