"""Whether a job that went wrong is tried again, and when: a pure decision.

| what went wrong                                | then                                                  |
|------------------------------------------------|-------------------------------------------------------|
| ArchiveUnavailableError, DatabaseUnavailable,  |                                                       |
| InferenceUnavailable                           | again, with back-off up to an hour, for a week        |
| StorageFullError                               | the same: someone will make room                      |
| in a fetch: a refusal, no room for a file      | the same: someone will correct the password           |
| InputError, ArchiveRefusedError, ConfigError   | never: the answer would be the same                   |
| anything else                                  | 3 tries in all, seconds apart                         |

Tries are counted by kind: an hour without the archive does not use up the tries of what comes after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom_node.archive.protocol import StudyGoneError
from dicom_node.errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    BundleError,
    ConfigError,
    DatabaseUnavailableError,
    InferenceUnavailableError,
    InputError,
    StorageFullError,
    describe,
)

FIRST_PAUSE = 2.0
"""Seconds before the second try."""
LONGEST_PAUSE = 3600.0
PATIENT_TRIES = 180
"""With pauses that double from 2 s to an hour: 11 tries in the first hour, then one an hour, for a week."""
HASTY_TRIES = 3
HASTY_PAUSE = 3.0
JITTER = 0.25
"""A pause is lengthened by up to this part of it, so that a returning archive is not stormed."""

PATIENT_ERRORS: tuple[type[Exception], ...] = (
    ArchiveUnavailableError,
    DatabaseUnavailableError,
    InferenceUnavailableError,
    StorageFullError,
)
FINAL_ERRORS: tuple[type[Exception], ...] = (InputError, ArchiveRefusedError, ConfigError, BundleError)


class Kind(StrEnum):
    """What an error asks for."""

    PATIENT = "patient"
    """Something is away, full or misconfigured; waiting helps."""
    FINAL = "final"
    """The answer would be the same."""
    UNEXPECTED = "unexpected"


def kind_of(error: BaseException) -> Kind:
    """The kind of an error of any job but a fetch."""
    if isinstance(error, PATIENT_ERRORS):
        return Kind.PATIENT
    return Kind.FINAL if isinstance(error, FINAL_ERRORS) else Kind.UNEXPECTED


def kind_of_fetch_error(error: BaseException) -> Kind:
    """The kind of an error of a fetch: nobody will announce the study again, so hardly anything is final."""
    if isinstance(error, ArchiveRefusedError) and not isinstance(error, StudyGoneError):
        return Kind.PATIENT
    if isinstance(error, OSError):
        return Kind.PATIENT
    return kind_of(error)


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Try no more."""

    reason: str
    """For people; without patient data."""


def decide(error: BaseException, kind: Kind, tries: int, chance: float) -> Again | GiveUp:
    """What to do after `error`, the `tries`-th of its kind that this job met (the first is 1).

    `chance` is a random number from 0 to 1, handed in so that this stays a function.
    """
    if kind is Kind.FINAL:
        return GiveUp(describe(error))
    if kind is Kind.PATIENT:
        if tries >= PATIENT_TRIES:
            return GiveUp(f"given up after {tries} tries: {describe(error)}")
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 32))
        return Again(pause * (1 + JITTER * chance))
    if tries >= HASTY_TRIES:
        return GiveUp(f"given up after {tries} tries: {describe(error)}")
    return Again(HASTY_PAUSE * (1 + JITTER * chance))
