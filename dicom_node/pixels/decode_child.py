"""The process in which frames are decoded: codecs are C and Rust, and what a hospital's node is sent
may be broken or hostile. It ends when its parent does.

Run as `python -m dicom_node.pixels.decode_child MEGABYTES`: requests on stdin, answers on stdout (`wire.py`).
"""

from __future__ import annotations

import os
import resource
import sys
from typing import BinaryIO

from dicom_node.errors import InputError, UnreadableObjectError
from dicom_node.pixels.decoders.registry import decode
from dicom_node.pixels.decoders.wire import read_request, write_fault, write_pixels
from dicom_node.pixels.quiet import parsing

BROKEN = "Its pixel data cannot be decoded."


def answer(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer every request until there are no more."""
    while (request := read_request(requests)) is not None:
        coded, halvings = request
        try:
            with parsing("broken-pixels", BROKEN):
                pixels = decode(coded, halvings, contained=True)
        except InputError as error:
            write_fault(answers, error)
        except BaseException as error:
            # A panic of a codec written in Rust is no Exception.
            if type(error).__name__ != "PanicException":
                raise
            write_fault(answers, UnreadableObjectError("broken-pixels", BROKEN))
        else:
            write_pixels(answers, pixels)


def main() -> None:
    """Keep stdout for answers alone, whatever a codec prints, and take no more memory than told."""
    limit = int(sys.argv[1]) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())
    answer(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
