"""`dicom-node analyse`: studies on disk to reports on disk, with no server and no database.

files -> instances by study -> assess_study -> <study UID>.json and, where reported, <study UID>.dcm

Reports that this software made before are told as skipped and are no part of what a report's identity is
derived from: the same images give a report of the same identity however often this version analyses them on
this machine, and wherever to. Where the folder holds that report already it is kept, byte for byte: one SOP
Instance UID names one object.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import structlog
from pydicom import dcmread

from dicom_node.archive.protocol import OWN_MANUFACTURER
from dicom_node.errors import ConfigError, M3BindError, UnreadableObjectError, describe, where
from dicom_node.facts import assessment_to_json
from dicom_node.pipeline import Assessor, assess_study, this_device, write_report
from dicom_node.pixels.decoders.registry import FrameDecoder, decode_here
from dicom_node.pixels.headers import NotDicom, walk
from dicom_node.pixels.quiet import parsing
from dicom_node.records import Assessment, Instance, Skipped, Status

SR_CLASSES = "1.2.840.10008.5.1.4.1.1.88."
"""All structured reports begin so (PS3.4 table B.5-1)."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What became of one study."""

    study_uid: str
    assessment: Assessment | None
    """None when the study failed."""
    error: str | None
    json_path: Path | None
    report_path: Path | None


@dataclass(frozen=True, slots=True)
class Found:
    """What lies under the given paths."""

    studies: dict[str, tuple[Instance, ...]]
    """By Study Instance UID, in order of discovery. The same SOP instance in two files counts once."""
    not_dicom: tuple[NotDicom, ...]
    repeated: tuple[tuple[Path, Path], ...] = ()
    """Files of a SOP instance that came before, each with the file that is read instead."""


def find_studies(paths: Sequence[Path], *, out: Path | None = None) -> Found:
    """Walk files and folders and group the instances by study. What lies in `out`, where that is a folder
    below one of the paths, is left out: it is what an earlier run wrote.

    Raises ConfigError when a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}")
    instances, not_dicom = walk(paths, without=out)
    studies: dict[str, dict[str, Instance]] = {}
    repeated: list[tuple[Path, Path]] = []
    for instance in instances:
        first = studies.setdefault(instance.study_uid, {}).setdefault(instance.sop_instance_uid, instance)
        if first is not instance:
            repeated.append((instance.path, first.path))
    found = {uid: tuple(members.values()) for uid, members in studies.items()}
    return Found(found, tuple(not_dicom), tuple(repeated))


def analyse(
    found: Found,
    assessor: Assessor,
    out: Path,
    *,
    now: Callable[[], datetime],
    decode: FrameDecoder = decode_here,
    started: Callable[[str], None] = lambda _uid: None,
    ended: Callable[[Outcome], None] = lambda _outcome: None,
) -> list[Outcome]:
    """Judge every study and write its JSON and, where reported, its SR into `out`.

    A study that fails, of whatever, is told in its Outcome and does not stop the others. Raises ConfigError
    where the folder `out` cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {out} ({error.strerror}): name another") from error
    outcomes = []
    for study_uid, instances in found.studies.items():
        started(study_uid)
        try:
            outcome = _analyse_study(study_uid, instances, assessor, out, now(), decode)
        except Exception as error:  # noqa: BLE001 - a rim: the other studies must be analysed
            log.warning("study_failed", study_uid=study_uid, error=describe(error), where=where(error))
            outcome = Outcome(study_uid, None, _told(error), None, None)
        ended(outcome)
        outcomes.append(outcome)
    return outcomes


def _told(error: Exception) -> str:
    """An error for people, without the data that caused it."""
    if isinstance(error, M3BindError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return describe(error)


def is_own_report(instance: Instance) -> bool:
    """Whether this software wrote it: a structured report that names us as its manufacturer."""
    if not instance.sop_class_uid.startswith(SR_CLASSES):
        return False
    try:
        with parsing("broken-header", "Its data set cannot be parsed."):
            header = dcmread(instance.path, specific_tags=["Manufacturer"], force=True)
            return str(header.get("Manufacturer", "")).strip() == OWN_MANUFACTURER
    except UnreadableObjectError:
        return False  # the readers tell what is wrong with it


def _analyse_study(
    study_uid: str,
    members: Sequence[Instance],
    assessor: Assessor,
    out: Path,
    created: datetime,
    decode: FrameDecoder,
) -> Outcome:
    own = [instance for instance in members if is_own_report(instance)]
    # A study of our reports alone is refused with the readers' reason.
    instances = [instance for instance in members if instance not in own] or own
    assessment = assess_study(assessor, study_uid, instances, decode)
    if instances is not own:
        told = tuple(
            Skipped(i.sop_instance_uid, "own-report", "It is a report that this software made.") for i in own
        )
        assessment = replace(assessment, skipped=(*assessment.skipped, *told))
    report_path = None
    if assessment.status is Status.REPORTED:
        report = write_report(
            assessment,
            instances,
            created=created,
            predecessors=(),
            device=this_device(platform.node() or "localhost", "dicom-node analyse"),
        )
        report_path = out / f"{study_uid}.dcm"
        if _instance_in(report_path) != report.sop_instance_uid:
            _write_whole(report_path, report.part10)
    json_path = out / f"{study_uid}.json"
    json_path.write_text(
        json.dumps(assessment_to_json(assessment), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return Outcome(study_uid, assessment, None, json_path, report_path)


def _instance_in(path: Path) -> str | None:
    """The SOP Instance UID of the report that an earlier run left there; None where it left none."""
    try:
        with parsing("broken-header", "Its data set cannot be parsed."):
            return str(dcmread(path, specific_tags=["SOPInstanceUID"]).get("SOPInstanceUID"))
    except (OSError, UnreadableObjectError):
        return None


def _write_whole(path: Path, content: bytes) -> None:
    """Whole or not at all, so that what is found there later may be kept."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(content)
    draft.replace(path)
