"""Who reports, when, and as which object: everything of a report that is neither finding nor source."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from dicom_node.errors import ReportError
from dicom_node.records import Finding

NAMESPACE = uuid.UUID("05fdc694-2fdd-443c-995a-c9c2438a166d")
"""Of every UID derived here. To change it would report every study again under another UID."""

SERIES_DESCRIPTION = "M3Bind findings, research only, not a medical device"
"""Default of (0008,103E), LO: at most 64 characters."""


class ReportForm(StrEnum):
    """The SR IOD that carries the content (PS3.3 A.35). The content is the same in all three."""

    COMPREHENSIVE_3D = "comprehensive_3d"
    """The IOD that today's readers of TID 1500 expect."""
    COMPREHENSIVE = "comprehensive"
    """For peers that refuse the first."""
    ENHANCED = "enhanced"
    """For peers that refuse both."""


@dataclass(frozen=True, slots=True)
class ReportUids:
    """Identity of one report."""

    series_uid: str
    sop_instance_uid: str
    """Of the Comprehensive 3D SR; another form of the same report has its own, see `form_uid`."""


@dataclass(frozen=True, slots=True)
class DeviceObserver:
    """The device that speaks: TID 1004 and the General Equipment module (PS3.3 C.7.5.1)."""

    name: str
    """Of this installation, e.g. its host or site name."""
    uid: str
    """Stable for this installation."""
    manufacturer: str
    model: str
    serial_number: str
    software_version: str


@dataclass(frozen=True, slots=True)
class PriorReport:
    """A report that this one supersedes."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class ReportContext:
    """Everything that the builder needs beside the assessment and the headers. It asks no clock."""

    uids: ReportUids
    created: datetime
    """When the assessment was made. Aware; best in the time zone of the site."""
    device: DeviceObserver
    predecessors: tuple[PriorReport, ...] = ()
    algorithm_version: str | None = None
    """Of TID 4019; None: the version of the bundle."""
    series_number: int = 900
    """High, so that viewers list it after the images."""
    instance_number: int = 1
    """Of the report within its series."""
    series_description: str = SERIES_DESCRIPTION
    form: ReportForm = ReportForm.COMPREHENSIVE_3D

    def __post_init__(self) -> None:
        if self.created.utcoffset() is None:
            raise ReportError("ReportContext.created has no time zone: give an aware datetime")


def derived_uid(*parts: str) -> str:
    """A UID that depends on `parts` alone: 2.25 and a UUID of version 5 (PS3.5 B.2, RFC 9562)."""
    return f"2.25.{uuid.uuid5(NAMESPACE, chr(10).join(parts)).int}"


def report_uids(
    study_uid: str, bundle_digest: str, instance_digests: Iterable[str], device: DeviceObserver
) -> ReportUids:
    """The identity of the report that this bundle, run by this device, makes of these instances of a study.

    The order of the digests, and repeats among them, do not matter: a repeated job makes the same object.
    What a device and a version of its software write differs from what another one does, so they are part of
    the identity, and of that of the series, whose equipment they are. One bundle's reports of one study share
    a series; an instance more makes another report in it. Raises ReportError without a digest.
    """
    digests = sorted(set(instance_digests))
    if not digests:
        raise ReportError("A report needs at least one source instance to derive its UIDs from")
    maker = (study_uid, bundle_digest, device.uid, device.software_version)
    return ReportUids(
        series_uid=derived_uid("series", *maker), sop_instance_uid=derived_uid("report", *maker, *digests)
    )


def form_uid(sop_instance_uid: str, form: ReportForm) -> str:
    """The SOP Instance UID of the same report in another form: one UID never names two SOP classes."""
    if form is ReportForm.COMPREHENSIVE_3D:
        return sop_instance_uid
    return derived_uid("form", sop_instance_uid, form.value)


def tracking_uid(sop_instance_uid: str, finding: Finding) -> str:
    """Tracking Unique Identifier (TID 4108) of a finding in a report. Series and view tell apart the two
    eyes of a study, in which the same finding is judged twice."""
    return derived_uid("finding", sop_instance_uid, finding.id, finding.series_uid, str(finding.view))
