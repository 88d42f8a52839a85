"""Whether a job that went wrong is tried again, and when: a pure decision.

| what went wrong                                | then                                                  |
|------------------------------------------------|-------------------------------------------------------|
| ArchiveUnavailableError, DatabaseUnavailable   | again, with back-off up to an hour, for a week        |
| StorageFullError                               | the same: someone will make room                      |
| InputError, ArchiveRefusedError, ConfigError   | never: the answer would be the same                   |
| anything else                                  | 3 tries in all, seconds apart                         |
"""

from __future__ import annotations

from dataclasses import dataclass

from dicom_node.errors import (
    ArchiveRefusedError,
    ArchiveUnavailableError,
    BundleError,
    ConfigError,
    DatabaseUnavailableError,
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

PATIENT_ERRORS = (ArchiveUnavailableError, DatabaseUnavailableError, StorageFullError)
FINAL_ERRORS = (InputError, ArchiveRefusedError, ConfigError, BundleError)


@dataclass(frozen=True, slots=True)
class Again:
    """Try once more."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Try no more."""

    reason: str
    """For people; without patient data."""


def decide(error: BaseException, tries: int, chance: float) -> Again | GiveUp:
    """What to do after `error` in the `tries`-th try (the first is 1).

    `chance` is a random number from 0 to 1, handed in so that this stays a function.
    """
    if isinstance(error, FINAL_ERRORS):
        return GiveUp(str(error))
    if isinstance(error, PATIENT_ERRORS):
        if tries >= PATIENT_TRIES:
            return GiveUp(f"given up after {tries} tries: {error}")
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(tries - 1, 32))
        return Again(pause * (1 + JITTER * chance))
    if tries >= HASTY_TRIES:
        return GiveUp(f"given up after {tries} tries: {describe(error)}")
    return Again(HASTY_PAUSE * (1 + JITTER * chance))
