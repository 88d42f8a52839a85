"""Identity of reports: derived, repeatable, and different where the report is."""

from datetime import datetime

import pytest
from pydicom.uid import UID

from dicom_node.errors import ReportError
from dicom_node.report.context import (
    SERIES_DESCRIPTION,
    ReportContext,
    ReportForm,
    form_uid,
    report_uids,
    tracking_uid,
)
from tests.support.assessments import DEVICE, assessment_of
from tests.support.sources import op

STUDY, BUNDLE = "1.2.3", "ab" * 32


def test_the_order_and_repeats_of_instances_do_not_matter() -> None:
    assert report_uids(STUDY, BUNDLE, ["b", "a", "c"]) == report_uids(
        STUDY, BUNDLE, iter(["c", "a", "b", "a"])
    )


@pytest.mark.parametrize(
    ("study", "bundle", "digests"),
    [("1.2.4", BUNDLE, ["a"]), (STUDY, "cd" * 32, ["a"]), (STUDY, BUNDLE, ["a", "b"])],
)
def test_another_input_is_another_report(study: str, bundle: str, digests: list[str]) -> None:
    assert (
        report_uids(study, bundle, digests).sop_instance_uid
        != report_uids(STUDY, BUNDLE, ["a"]).sop_instance_uid
    )


def test_an_instance_more_makes_another_report_in_the_same_series() -> None:
    one, two = report_uids(STUDY, BUNDLE, ["a"]), report_uids(STUDY, BUNDLE, ["a", "b"])
    assert one.series_uid == two.series_uid
    assert one.sop_instance_uid != two.sop_instance_uid


def test_joined_digests_are_not_taken_for_another_set() -> None:
    assert report_uids(STUDY, BUNDLE, ["ab", "c"]) != report_uids(STUDY, BUNDLE, ["a", "bc"])


def test_uids_never_change_between_releases() -> None:
    uids = report_uids(STUDY, BUNDLE, ["a"])
    assert uids.series_uid == "2.25.105167979641653549613707419938000343382"
    assert uids.sop_instance_uid == "2.25.321725160209327362477957860052181863941"


def test_uids_are_legal() -> None:
    uids = report_uids(STUDY, BUNDLE, ["a"])
    for uid in (uids.series_uid, uids.sop_instance_uid, form_uid(uids.sop_instance_uid, ReportForm.ENHANCED)):
        assert UID(uid).is_valid
        assert uid.startswith("2.25.")


def test_no_instances_no_report() -> None:
    with pytest.raises(ReportError, match="at least one"):
        report_uids(STUDY, BUNDLE, [])


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
        ReportContext(report_uids(STUDY, BUNDLE, ["a"]), datetime(2025, 1, 1), DEVICE)


def test_the_series_says_that_it_is_no_medical_device_within_64_characters() -> None:
    assert "not a medical device" in SERIES_DESCRIPTION
    assert len(SERIES_DESCRIPTION) <= 64
