"""One group per finding, with everything that TID 1501 asks for."""

from dataclasses import replace

import pytest
from pydicom.dataset import Dataset

from dicom_node.errors import ReportError
from dicom_node.records import Code, Evidence, Finding, Presence, SourceRef
from dicom_node.report import codes
from dicom_node.report.context import tracking_uid
from dicom_node.report.document import build_report, encode_part10
from dicom_node.report.groups import MAX_FRAMES, MAX_SOURCES, tracking_identifier
from tests.support.assessments import BUNDLE, assessment_of, context_of, evidence_of, ref
from tests.support.sources import SOURCES, ct, op, sm
from tests.support.sr import (
    FINDING_SITE,
    LATERALITY,
    MEASUREMENT_GROUP,
    TRACKING_IDENTIFIER,
    TRACKING_UID,
    children,
    only,
    reread,
    value_of,
    walk,
)


def groups_of(
    kind: str, headers: list[Dataset] | None = None, **changes: object
) -> list[tuple[Dataset, Finding]]:
    """Every group of a report with the finding that it tells, after writing and reading."""
    headers = headers or SOURCES[kind]()
    assessment = assessment_of(kind, headers)
    assessment = replace(assessment, findings=tuple(replace(f, **changes) for f in assessment.findings))
    report = reread(encode_part10(build_report(assessment, headers, context_of(headers))))
    by_uid = {tracking_uid(context_of(headers).uids.sop_instance_uid, f): f for f in assessment.findings}
    groups = children(only(report, codes.IMAGING_MEASUREMENTS), MEASUREMENT_GROUP)
    return [(group, by_uid[group.ContentSequence[1].UID]) for group in groups]


def of_type(group: Dataset, value_type: str) -> list[Dataset]:
    return [item for item in group.ContentSequence if item.ValueType == value_type]


@pytest.fixture(
    scope="module", params=[(kind, evidence) for kind in SOURCES for evidence in (True, False)], ids=str
)
def groups(request: pytest.FixtureRequest) -> list[tuple[Dataset, Finding]]:
    kind, evidence = request.param
    return groups_of(kind) if evidence else groups_of(kind, evidence=())


def test_every_group_can_be_tracked(groups: list[tuple[Dataset, Finding]]) -> None:
    uids = [value_of(only(group, TRACKING_UID)) for group, _ in groups]
    assert len(set(uids)) == 3
    for group, finding in groups:
        identifier = only(group, TRACKING_IDENTIFIER)
        assert identifier.RelationshipType == "HAS OBS CONTEXT"
        assert only(group, TRACKING_UID).RelationshipType == "HAS OBS CONTEXT"
        assert finding.name in str(value_of(identifier))


def test_tracking_uids_come_from_report_and_finding() -> None:
    headers = SOURCES["cr"]()
    uid = context_of(headers).uids.sop_instance_uid
    for group, finding in groups_of("cr", headers):
        assert value_of(only(group, TRACKING_UID)) == tracking_uid(uid, finding)


def test_every_group_names_its_finding(groups: list[tuple[Dataset, Finding]]) -> None:
    for group, finding in groups:
        item = only(group, codes.FINDING)
        assert item.RelationshipType == "CONTAINS"
        assert value_of(item) == (finding.code.value, finding.code.scheme)


def test_presence_is_said_three_times_alike(groups: list[tuple[Dataset, Finding]]) -> None:
    said = set()
    for group, finding in groups:
        expected = codes.PRESENCE_VALUES[finding.presence]
        modifier = only(only(group, codes.FINDING), codes.PRESENCE_OF_PROPERTY)
        assert modifier.RelationshipType == "HAS CONCEPT MOD"
        assert value_of(modifier) == (expected.value, expected.scheme)
        assert value_of(only(group, codes.PRESENCE)) == (expected.value, expected.scheme)
        words = {"Present": "present", "Absent": "not detected", "Undetermined": "undetermined"}
        assert str(value_of(only(group, TRACKING_IDENTIFIER))).endswith(f": {words[expected.meaning]}")
        said.add(expected)
    assert len(said) == 3


def test_every_group_has_one_probability_in_percent(groups: list[tuple[Dataset, Finding]]) -> None:
    for group, finding in groups:
        assert value_of(only(group, codes.PROBABILITY)) == (round(100 * finding.probability, 2), "%")


def test_every_group_names_the_algorithm_and_its_threshold(groups: list[tuple[Dataset, Finding]]) -> None:
    for group, finding in groups:
        told = {i.ConceptNameCodeSequence[0].CodeValue: i.TextValue for i in of_type(group, "TEXT")}
        assert told["111001"] == BUNDLE.name
        assert told["111003"] == BUNDLE.version
        assert told["111002"] == f"decision threshold {100 * finding.threshold:.2f} %"


def test_the_lower_threshold_is_told_where_there_is_one() -> None:
    for group, finding in groups_of("cr", unsure_from=0.335):
        told = {i.ConceptNameCodeSequence[0].CodeValue: i.TextValue for i in of_type(group, "TEXT")}
        assert (
            told["111002"] == f"decision threshold {100 * finding.threshold:.2f} %, lower threshold 33.50 %"
        )


@pytest.mark.parametrize(
    ("side", "words"), [("L", " (left)"), ("R", " (right)"), ("B", " (both sides)"), (None, "")]
)
def test_the_words_tell_the_two_eyes_apart(side: str | None, words: str) -> None:
    for group, finding in groups_of("op", laterality=side):
        assert str(value_of(only(group, TRACKING_IDENTIFIER))).startswith(f"{finding.name}{words}: ")


def test_every_group_points_at_its_source(groups: list[tuple[Dataset, Finding]]) -> None:
    for group, finding in groups:
        pointed = {
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            for item in walk(group)
            if item.ValueType in {"IMAGE", "WAVEFORM"}
        }
        assert pointed
        if finding.evidence:
            assert pointed == {e.source.sop_instance_uid for e in finding.evidence}


@pytest.mark.parametrize(
    ("kind", "site"),
    [("cr", "51185008"), ("ct", "51185008"), ("op", "5665001"), ("ecg", "80891009"), ("sm", "39607008")],
)
def test_the_site_is_told(kind: str, site: str) -> None:
    for group, _ in groups_of(kind):
        assert value_of(only(group, FINDING_SITE)) == (site, "SCT")


def test_a_slide_without_structure_has_no_site() -> None:
    headers = sm()
    del headers[0].SpecimenDescriptionSequence[0].PrimaryAnatomicStructureSequence
    assert all(not children(group, FINDING_SITE) for group, _ in groups_of("sm", headers))


@pytest.mark.parametrize(("letter", "code"), [("L", "7771000"), ("R", "24028007"), ("B", "51440002")])
def test_laterality_is_told_under_the_site(letter: str, code: str) -> None:
    for group, _ in groups_of("op", laterality=letter):
        assert value_of(only(only(group, FINDING_SITE), LATERALITY)) == (code, "SCT")


@pytest.mark.parametrize("letter", [None, "U", ""])
def test_an_unknown_laterality_is_left_out(letter: str | None) -> None:
    assert all(not children(only(g, FINDING_SITE), LATERALITY) for g, _ in groups_of("op", laterality=letter))


@pytest.mark.parametrize("kind", ["cr", "dx", "op", "sm"])
def test_the_number_was_inferred_from_its_outline(kind: str) -> None:
    for group, _ in groups_of(kind):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        (region,) = only(group, codes.PROBABILITY).ContentSequence
        assert region.RelationshipType == "INFERRED FROM"
        assert region.GraphicType == "POLYLINE"
        assert list(region.GraphicData) == [10, 20, 110, 20, 110, 150.5, 10, 150.5, 10, 20]
        assert region.ContentSequence[0].RelationshipType == "SELECTED FROM"


def test_outlines_of_two_slices_are_what_the_number_was_inferred_from() -> None:
    headers = ct()
    for group, _ in groups_of("ct", headers):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        regions = only(group, codes.PROBABILITY).ContentSequence
        assert [r.RelationshipType for r in regions] == ["INFERRED FROM"] * 2
        slices = [r.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for r in regions]
        assert slices == [headers[2].SOPInstanceUID, headers[1].SOPInstanceUID]  # the larger share first


def test_a_span_of_an_ecg_is_a_segment_of_its_waveform() -> None:
    for group, _ in groups_of("ecg"):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        (span,) = only(group, codes.PROBABILITY).ContentSequence
        assert (span.ValueType, span.RelationshipType, span.TemporalRangeType) == (
            "TCOORD",
            "INFERRED FROM",
            "SEGMENT",
        )
        assert [float(s) for s in span.ReferencedTimeOffsets] == [2.5, 5.0]
        assert span.ContentSequence[0].ValueType == "WAVEFORM"
        assert span.ContentSequence[0].RelationshipType == "SELECTED FROM"
        assert len(of_type(group, "WAVEFORM")) == 1
        assert not [item for item in walk(group) if item.ValueType == "IMAGE"]


def test_a_region_of_a_slide_is_told_in_the_total_pixel_matrix() -> None:
    for group, _ in groups_of("sm"):
        (region,) = only(group, codes.PROBABILITY).ContentSequence
        assert region.PixelOriginInterpretation == "VOLUME"
        assert "ReferencedFrameNumber" not in region.ContentSequence[0].ReferencedSOPSequence[0]


def test_a_radiograph_has_no_pixel_origin() -> None:
    assert all("PixelOriginInterpretation" not in item for g, _ in groups_of("cr") for item in walk(g))


def test_the_only_frame_is_not_numbered_and_one_of_many_is() -> None:
    for group, _ in groups_of("op"):
        (region,) = only(group, codes.PROBABILITY).ContentSequence
        assert "ReferencedFrameNumber" not in region.ContentSequence[0].ReferencedSOPSequence[0]
    headers = op()
    headers[0].NumberOfFrames = 3
    for group, _ in groups_of("op", headers):
        (region,) = only(group, codes.PROBABILITY).ContentSequence
        reference = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert reference.ReferencedFrameNumber == 1


def test_tiles_are_listed_until_they_are_too_many() -> None:
    headers = sm()
    few = tuple(Evidence(ref(headers[0], frame)) for frame in (9, 3, 4))
    many = tuple(Evidence(ref(headers[0], frame)) for frame in range(1, MAX_FRAMES + 2))
    for group, _ in groups_of("sm", headers, evidence=few):
        assert list(of_type(group, "IMAGE")[0].ReferencedSOPSequence[0].ReferencedFrameNumber) == [3, 4, 9]
    for group, _ in groups_of("sm", headers, evidence=many):
        assert "ReferencedFrameNumber" not in of_type(group, "IMAGE")[0].ReferencedSOPSequence[0]


def test_a_series_is_listed_until_it_is_too_long() -> None:
    for group, _ in groups_of("ct", ct(MAX_SOURCES), evidence=()):
        assert len(of_type(group, "IMAGE")) == MAX_SOURCES
    for group, _ in groups_of("ct", ct(MAX_SOURCES + 1), evidence=()):
        assert not of_type(group, "IMAGE")


def test_an_outline_beyond_the_image_is_clipped_to_it() -> None:
    headers = SOURCES["cr"]()
    padded = Evidence(ref(headers[0]), outline=((-50.0, -5.0), (3000.0, -5.0), (3000.0, 40.0), (-50.0, 40.0)))
    for group, _ in groups_of("cr", headers, evidence=(padded,)):
        data = list(only(group, codes.PROBABILITY).ContentSequence[0].GraphicData)
        assert (min(data[::2]), max(data[::2]), min(data[1::2]), max(data[1::2])) == (0, 1760, 0, 40)


def test_an_outline_outside_the_image_gives_the_image_alone() -> None:
    headers = SOURCES["cr"]()
    lost = Evidence(ref(headers[0]), outline=((9000.0, 9000.0), (9100.0, 9000.0), (9100.0, 9100.0)))
    for group, _ in groups_of("cr", headers, evidence=(lost,)):
        assert group.ContentTemplateSequence[0].TemplateIdentifier == "1501"
        assert not [item for item in walk(group) if item.ValueType == "SCOORD"]
        assert len(of_type(group, "IMAGE")) == 1


def test_very_long_names_are_cut_in_the_code_and_whole_in_the_text() -> None:
    name = "Pneumonia " * 20
    for group, finding in groups_of("cr", name=name, code=Code("233604007", "SCT", name)):
        assert len(only(group, codes.FINDING).ConceptCodeSequence[0].CodeMeaning) == 64
        assert name.strip() in tracking_identifier(finding)


def test_long_code_values_are_kept_whole() -> None:
    code = Code("1234567890123456789", "SCT", "A new concept")
    for group, _ in groups_of("cr", code=code):
        assert value_of(only(group, codes.FINDING)) == (code.value, "SCT")


def test_an_absent_finding_keeps_its_region() -> None:
    headers = SOURCES["cr"]()
    for group, _ in groups_of("cr", headers, presence=Presence.ABSENT, evidence=evidence_of("cr", headers)):
        assert only(group, codes.PROBABILITY).ContentSequence[0].ValueType == "SCOORD"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"evidence": (Evidence(SourceRef("1.2", "1.2.3.4")),)}, "header of the evidence"),
        ({"view": 1}, "names view 1 of 1"),
        ({"probability": 1.5}, "not 0 to 1"),
        ({"probability": float("nan")}, "not 0 to 1"),
        ({"code": Code("", "SCT", "Pneumonia")}, "incomplete code"),
        ({"code": Code("1", "A scheme of many letters", "Pneumonia")}, "16 characters"),
    ],
    ids=["stranger", "view", "above one", "not a number", "no code", "scheme"],
)
def test_what_cannot_be_told_is_an_error(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ReportError, match=message):
        groups_of("cr", **changes)
