from __future__ import annotations

import logging
import threading
import warnings

import pytest

from dicom_node.errors import UnreadableObjectError
from dicom_node.pixels.quiet import parsing, quiet


def test_remarks_of_pydicom_are_not_heard_inside(caplog: pytest.LogCaptureFixture) -> None:
    with quiet:
        warnings.warn("Nobody^At^All", stacklevel=1)
        logging.getLogger("pydicom").warning("Nobody^At^All")
    assert not caplog.records


def test_everything_is_as_before_outside() -> None:
    before = (list(warnings.filters), logging.getLogger("pydicom").level)
    with quiet, quiet:
        pass
    assert (list(warnings.filters), logging.getLogger("pydicom").level) == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError), quiet:
        raise KeyError
    assert logging.getLogger("pydicom").level != logging.CRITICAL + 1


def test_threads_that_leave_out_of_order() -> None:
    before = list(warnings.filters)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with quiet:
            first_in.set()
            second_in.wait(10)
        first_out.set()

    def second() -> None:
        first_in.wait(10)
        with quiet:
            second_in.set()
            first_out.wait(10)

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert first_out.is_set()
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(ValueError("x"), "broken-header"), (OSError("x"), "broken-header"), (MemoryError(), "too-large")],
)
def test_what_goes_wrong_in_parsing_becomes_a_refusal(fault: Exception, reason: str) -> None:
    with pytest.raises(UnreadableObjectError) as caught, parsing("broken-header", "It cannot be parsed."):
        raise fault
    assert caught.value.reason == reason


def test_what_the_file_system_says_passes_through() -> None:
    with pytest.raises(OSError, match="gone"), parsing("broken-header", "It cannot be parsed."):
        raise OSError(2, "gone")
