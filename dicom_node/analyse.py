"""`dicom-node analyse`: studies on disk to reports on disk, with no server and no database.

files -> instances by study -> assess_study -> <study UID>.json and, where reported, <study UID>.dcm
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dicom_node.errors import ConfigError, M3BindError
from dicom_node.facts import assessment_to_json
from dicom_node.pipeline import Assessor, assess_study, this_device, write_report
from dicom_node.pixels.headers import NotDicom, walk
from dicom_node.records import Assessment, Instance, Status


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


def find_studies(paths: Sequence[Path]) -> Found:
    """Walk files and folders and group the instances by study.

    Raises ConfigError when a path does not exist.
    """
    for path in paths:
        if not path.exists():
            raise ConfigError(f"there is no file or folder {path}")
    instances, not_dicom = walk(paths)
    studies: dict[str, dict[str, Instance]] = {}
    for instance in instances:
        studies.setdefault(instance.study_uid, {}).setdefault(instance.sop_instance_uid, instance)
    return Found({uid: tuple(members.values()) for uid, members in studies.items()}, tuple(not_dicom))


def analyse(
    found: Found,
    assessor: Assessor,
    out: Path,
    *,
    now: Callable[[], datetime],
    started: Callable[[str], None] = lambda _uid: None,
    ended: Callable[[Outcome], None] = lambda _outcome: None,
) -> list[Outcome]:
    """Judge every study and write its JSON and, where reported, its SR into `out`.

    A study that fails is told in its Outcome and does not stop the others.
    """
    out.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for study_uid, instances in found.studies.items():
        started(study_uid)
        try:
            outcome = _analyse_study(study_uid, instances, assessor, out, now())
        except (M3BindError, OSError) as error:
            outcome = Outcome(study_uid, None, f"{type(error).__name__}: {error}", None, None)
        ended(outcome)
        outcomes.append(outcome)
    return outcomes


def _analyse_study(
    study_uid: str, instances: Sequence[Instance], assessor: Assessor, out: Path, created: datetime
) -> Outcome:
    assessment = assess_study(assessor, study_uid, instances)
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
        report_path.write_bytes(report.part10)
    json_path = out / f"{study_uid}.json"
    json_path.write_text(
        json.dumps(assessment_to_json(assessment), indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return Outcome(study_uid, assessment, None, json_path, report_path)
