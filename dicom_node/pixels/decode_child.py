"""The process in which frames are decoded: codecs are C and Rust, and what a hospital's node is sent
may be broken or hostile. It ends when its parent does, or soon after where a codec hangs.

`contained.py` starts it with MEGABYTES, and SECONDS for one frame: a line that says it is ready on stdout,
then requests on stdin and answers on stdout (`wire.py`).
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import BinaryIO

from dicom_node.errors import InputError, UnreadableObjectError
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.decoders.wire import READY, read_request, write_fault, write_gone, write_pixels
from dicom_node.pixels.quiet import parsing

BROKEN = "Its pixel data cannot be decoded."


def answer(requests: BinaryIO, answers: BinaryIO, seconds: int) -> None:
    """Answer every request until there are no more. One that takes longer than `seconds` ends the process, as
    nobody else may be left to do so."""
    while (request := read_request(requests)) is not None:
        coded, halvings = request
        signal.alarm(seconds)  # its default ends the process, within a codec too
        try:
            with parsing("broken-pixels", BROKEN):
                pixels = decode(coded, halvings, contained=True)
        except MemoryError:
            write_fault(answers, UnreadableObjectError("broken-pixels", BROKEN))
        except OSError as error:  # of the file system: a codec's own have no number
            write_gone(answers, error)
        except InputError as error:
            write_fault(answers, error)
        except BaseException as error:
            # A panic of a codec written in Rust is no Exception.
            if type(error).__name__ != "PanicException":
                raise
            write_fault(answers, UnreadableObjectError("broken-pixels", BROKEN))
        else:
            write_pixels(answers, pixels)
        signal.alarm(0)


def main() -> None:
    """Keep stdout for answers alone, whatever a codec prints, and take no more memory than told."""
    limit = int(sys.argv[1]) << 20
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:  # more than that cannot be asked for
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it after its frame
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    answers.write(READY)
    answers.flush()
    answer(sys.stdin.buffer, answers, int(sys.argv[2]))
