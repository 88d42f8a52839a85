"""An object that is looked at and not kept: what the encoders see in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dicom_node.engine import Engine
from dicom_node.errors import InferenceUnavailableError, OutOfScopeError, UnsupportedObjectError
from dicom_node.pipeline import assess_study
from dicom_node.pixels.decoders.registry import FrameDecoder
from dicom_node.pixels.headers import read_instance
from dicom_node.search.example import Seen


def look(engine: Engine | None, part10: bytes, decode: FrameDecoder) -> tuple[Seen, ...]:
    """The views of one object that the encoders were made for; at least one.

    Raises InputError where no reader takes it, OutOfScopeError where it is not what the encoders were made
    for, InferenceError, InferenceUnavailableError until the bundle is loaded.
    """
    if engine is None:
        raise InferenceUnavailableError("the bundle is not loaded yet")
    with in_memory(part10) as path:
        assessment = assess_study(engine, "1", [read_instance(path)], decode)
    if not assessment.views:
        why = assessment.skipped[0]
        raise UnsupportedObjectError(why.reason, why.message)
    seen = tuple(Seen(view.modality, view.embedding) for view in assessment.views if view.in_scope)
    if not seen:
        raise OutOfScopeError("out-of-scope", assessment.reason or "The encoders were not made for it.")
    return seen


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """A file that no disk holds and that is gone with the block, or with the process. Its path holds for
    children of this process, too, which decode frames."""
    handle = os.memfd_create("object", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(handle), "wb") as file:
            file.write(content)
        yield Path(f"/proc/{os.getpid()}/fd/{handle}")
    finally:
        os.close(handle)
