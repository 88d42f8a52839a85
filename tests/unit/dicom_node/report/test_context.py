"""Identity of reports: derived, repeatable, and different where the report is."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

import pytest
from pydicom.uid import UID

from dicom_node.errors import ReportError
from dicom_node.report.context import (
    SERIES_DESCRIPTION,
    DeviceObserver,
    ReportContext,
    ReportForm,
    ReportUids,
    form_uid,
    report_uids,
    tracking_uid,
)
from tests.support.assessments import DEVICE, assessment_of
from tests.support.sources import op

STUDY, BUNDLE = "1.2.3", "ab" * 32


def uids_of(digests: Iterable[str], device: DeviceObserver = DEVICE) -> ReportUids:
    return report_uids(STUDY, BUNDLE, digests, device)


def test_the_order_and_repeats_of_instances_do_not_matter() -> None:
    assert uids_of(["b", "a", "c"]) == uids_of(iter(["c", "a", "b", "a"]))


@pytest.mark.parametrize(
    ("study", "bundle", "digests"),
    [("1.2.4", BUNDLE, ["a"]), (STUDY, "cd" * 32, ["a"]), (STUDY, BUNDLE, ["a", "b"])],
)
def test_another_input_is_another_report(study: str, bundle: str, digests: list[str]) -> None:
    assert report_uids(study, bundle, digests, DEVICE).sop_instance_uid != uids_of(["a"]).sop_instance_uid


def test_an_instance_more_makes_another_report_in_the_same_series() -> None:
    one, two = uids_of(["a"]), uids_of(["a", "b"])
    assert one.series_uid == two.series_uid
    assert one.sop_instance_uid != two.sop_instance_uid


def test_joined_digests_are_not_taken_for_another_set() -> None:
    assert uids_of(["ab", "c"]) != uids_of(["a", "bc"])


@pytest.mark.parametrize(
    "device",
    [replace(DEVICE, uid="1.2.3.4"), replace(DEVICE, software_version="9.9.9")],
    ids=["another device", "another version"],
)
def test_another_device_or_version_makes_another_report_in_another_series(device: DeviceObserver) -> None:
    """Its bytes would differ, and a series has one equipment (PS3.3 C.7.5.1)."""
    one, other = uids_of(["a"]), uids_of(["a"], device)
    assert one.sop_instance_uid != other.sop_instance_uid
    assert one.series_uid != other.series_uid


def test_uids_never_change_between_releases() -> None:
    """Given the version that the report names."""
    uids = uids_of(["a"])
    assert uids.series_uid == "2.25.338638933272754976994937348111975833765"
    assert uids.sop_instance_uid == "2.25.324004367270927966601413491106896901434"


def test_uids_are_legal() -> None:
    uids = uids_of(["a"])
    for uid in (uids.series_uid, uids.sop_instance_uid, form_uid(uids.sop_instance_uid, ReportForm.ENHANCED)):
        assert UID(uid).is_valid
        assert uid.startswith("2.25.")


def test_no_instances_no_report() -> None:
    with pytest.raises(ReportError, match="at least one"):
        uids_of([])


def test_every_form_has_its_own_uid() -> None:
    uids = {form_uid("1.2.3.4", form) for form in ReportForm}
    assert len(uids) == len(ReportForm)
    assert form_uid("1.2.3.4", ReportForm.COMPREHENSIVE_3D) == "1.2.3.4"


def test_tracking_uids_tell_findings_reports_and_eyes_apart() -> None:
    first, second, _ = assessment_of("op", op()).findings
    other_eye = type(first)(**{name: getattr(first, name) for name in first.__slots__} | {"view": 1})
    uids = {
        tracking_uid("1.2.3", first),
        tracking_uid("1.2.3", second),
        tracking_uid("1.2.4", first),
        tracking_uid("1.2.3", other_eye),
    }
    assert len(uids) == 4
    assert tracking_uid("1.2.3", first) == tracking_uid("1.2.3", first)


def test_a_report_needs_a_time_zone() -> None:
    with pytest.raises(ReportError, match="time zone"):
        ReportContext(uids_of(["a"]), datetime(2025, 1, 1), DEVICE)


def test_the_series_says_that_it_is_no_medical_device_within_64_characters() -> None:
    assert "not a medical device" in SERIES_DESCRIPTION
    assert len(SERIES_DESCRIPTION) <= 64
