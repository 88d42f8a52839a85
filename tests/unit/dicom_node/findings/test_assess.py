from dataclasses import replace

import numpy as np
import pytest

from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.bundle.manifest import Pooling
from dicom_node.errors import InferenceError
from dicom_node.findings.assess import Knowledge, assess, exclude, presence
from dicom_node.findings.prompts import Anchors
from dicom_node.findings.scope import ScopeStatistics
from dicom_node.records import (
    Assessment,
    Box,
    BundleIdentity,
    Finding,
    Presence,
    Sample,
    Skipped,
    SourceRef,
    Status,
    StudyRead,
    View,
    ViewVectors,
)

BUNDLE = BundleIdentity("test", "1.0.0", "0" * 64)
SOURCE = SourceRef("1.2.840.10008.5.1.4.1.1.1", "1.2.3")
A, B = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)
NEITHER = np.array([0, 0, 1], np.float32)


def entry(identifier: str, group: str | None = None, unsure_from: float | None = None) -> FindingEntry:
    return FindingEntry.model_validate(
        {
            "id": identifier,
            "modality": "xray",
            "name": identifier.title(),
            "code": {"value": "233604007", "scheme": "SCT", "meaning": "Pneumonia"},
            "prompts": {"affirmed": ["yes"], "negated": ["no"]},
            "group": group,
            "calibration": {"slope": 4.0, "intercept": -2.0},
            "threshold": 0.6,
            "unsure_from": unsure_from,
        }
    )


def knowledge(group: str | None = None, unsure_from: float | None = None) -> dict[str, Knowledge]:
    """Finding a looks along A, finding b along B; both away from NEITHER. Scope: near the three axes."""
    findings = (entry("xray.a", group, unsure_from), entry("xray.b", group, unsure_from))
    anchors = Anchors(("xray.a", "xray.b"), np.stack([A, B]), np.stack([NEITHER, NEITHER]))
    scope = ScopeStatistics(np.zeros(3), np.zeros((0, 3)), np.zeros(0), 1.0, threshold=2.0)
    return {"xray": Knowledge(findings, anchors, Pooling(), scope)}


def view(series: str = "1.2", laterality: str | None = None) -> View:
    sample = Sample(np.zeros((3, 4, 4), np.float32), SOURCE, Box(0, 0, 4, 4))
    return View("xray", series, (sample,), (SOURCE,), (4, 4), laterality=laterality, notes=("assumed",))


def vectors(embedding: np.ndarray) -> ViewVectors:
    """With all of the evidence in the top left of four cells."""
    evidence = np.zeros((1, 2, 2, 3), np.float32)
    evidence[0, 0, 0] = 4 * embedding
    return ViewVectors(embedding[None].astype(np.float32), evidence)


def judge(*pairs: tuple[View, np.ndarray], known: dict[str, Knowledge] | None = None) -> Assessment:
    read = StudyRead(tuple(v for v, _ in pairs), ())
    answers = [vectors(e) for _, e in pairs]
    return assess("1.9", read, answers, known or knowledge(), BUNDLE, {"encode": 0.5})


def test_a_study_is_reported() -> None:
    made = judge((view(laterality="L"), A))
    assert (made.status, made.reason, made.modality) == (Status.REPORTED, None, "xray")
    a, b = made.findings
    assert a.margin == pytest.approx(1.0)
    assert a.probability == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert (a.presence, b.presence) == (Presence.PRESENT, Presence.ABSENT)
    assert a.code.value == "233604007"
    assert a.laterality == "L"
    assert made.seconds == {"encode": 0.5}
    assert made.views[0].in_scope
    assert made.views[0].notes == ("assumed",)
    np.testing.assert_allclose(made.views[0].embedding, A)


@pytest.mark.parametrize("scoped", [True, False])
def test_what_the_reader_found_strange_gives_no_finding(scoped: bool) -> None:
    known = knowledge()
    known = known if scoped else {"xray": replace(known["xray"], scope=None)}
    made = judge((replace(view(), strange="No chest."), A), known=known)
    assert (made.status, made.reason, made.findings) == (Status.OUT_OF_SCOPE, "No chest.", ())
    both = judge((replace(view(), strange="No chest."), A), (view("1.3"), B), known=known)
    assert both.status is Status.REPORTED
    assert [(v.in_scope, v.reason) for v in both.views] == [(False, "No chest."), (True, None)]
    assert {finding.series_uid for finding in both.findings} == {"1.3"}


def test_evidence_only_where_something_is_said() -> None:
    made = judge((view(), A))
    assert made.findings[0].evidence[0].outline == ((0, 0), (2, 0), (2, 2), (0, 2))
    assert made.findings[1].evidence == ()


def test_the_model_abstains_between_its_two_thresholds() -> None:
    low = np.array([0.5, -np.sqrt(0.75), 0.0], np.float32)
    made = judge((view(), low), known=knowledge(unsure_from=0.3))
    assert made.findings[0].probability == pytest.approx(0.5)
    assert made.findings[0].presence is Presence.UNSURE
    assert (made.findings[0].unsure_from, made.findings[0].threshold) == (0.3, 0.6)
    assert made.findings[0].evidence != ()
    assert judge((view(), low)).findings[0].presence is Presence.ABSENT


@pytest.mark.parametrize(
    ("value", "unsure_from", "expected"),
    [
        (0.6, None, Presence.PRESENT),
        (0.5999, None, Presence.ABSENT),
        (0.5999, 0.4, Presence.UNSURE),
        (0.4, 0.4, Presence.UNSURE),
        (0.3999, 0.4, Presence.ABSENT),
    ],
)
def test_thresholds_belong_to_what_lies_above(
    value: float, unsure_from: float | None, expected: Presence
) -> None:
    assert presence(value, 0.6, unsure_from) is expected


@pytest.mark.parametrize("side", [None, "L"])
def test_of_views_of_one_side_each_finding_keeps_the_one_where_it_is_most_probable(side: str | None) -> None:
    made = judge((view("1.1", side), A), (view("1.2", side), B))
    a, b = made.findings
    assert (a.id, a.view, a.series_uid, a.laterality) == ("xray.a", 0, "1.1", side)
    assert (b.id, b.view, b.series_uid, b.laterality) == ("xray.b", 1, "1.2", side)
    assert a.presence is b.presence is Presence.PRESENT


def test_two_eyes_are_judged_apart() -> None:
    """The right one shows a, the left one b; a second photograph of the right shows nothing."""
    made = judge((view("1.1", "R"), A), (view("1.2", "L"), B), (view("1.3", "R"), -A))
    said = {(f.id, f.laterality): (f.presence, f.view) for f in made.findings}
    assert said == {
        ("xray.a", "R"): (Presence.PRESENT, 0),
        ("xray.b", "R"): (Presence.ABSENT, 0),
        ("xray.a", "L"): (Presence.ABSENT, 1),
        ("xray.b", "L"): (Presence.PRESENT, 1),
    }
    assert len(made.findings) == 4


def test_findings_of_a_group_exclude_each_other_in_one_eye_only() -> None:
    made = judge((view("1.1", "R"), A), (view("1.2", "L"), B), known=knowledge(group="grade"))
    present = {(f.id, f.laterality) for f in made.findings if f.presence is Presence.PRESENT}
    assert present == {("xray.a", "R"), ("xray.b", "L")}


def test_of_a_group_only_one_is_present_and_the_model_abstains_on_the_other() -> None:
    strong, weaker = A, (np.array([0.2, 0.98, 0]) / np.linalg.norm([0.2, 0.98])).astype(np.float32)
    made = judge((view("1.1"), strong), (view("1.2"), weaker), known=knowledge(group="kind"))
    assert [f.presence for f in made.findings] == [Presence.PRESENT, Presence.UNSURE]
    assert made.findings[1].evidence != ()
    assert made.findings[1].probability > 0.6


def test_of_a_group_the_one_furthest_above_its_own_threshold_is_present() -> None:
    """60.0 % over a threshold of 22.9 % says more than 61.0 % over one of 60.2 %."""
    base = judge((view(), A)).findings[0]
    squamous = replace(base, id="xray.a", probability=0.600, threshold=0.229)
    adeno = replace(base, id="xray.b", probability=0.610, threshold=0.602)
    expected = (squamous, replace(adeno, presence=Presence.UNSURE))
    assert exclude([squamous, adeno], {"xray.a": "kind", "xray.b": "kind"}) == expected
    assert exclude([adeno, squamous], {"xray.a": "kind", "xray.b": "kind"}) == expected[::-1]


def test_odds_are_compared_not_differences() -> None:
    """From 90 % to 99 % the odds grow eleven times, from 50 % to 60 % by half."""
    base = judge((view(), A)).findings[0]
    sure = replace(base, id="xray.a", probability=0.99, threshold=0.90)
    likely = replace(base, id="xray.b", probability=0.60, threshold=0.50)
    made = exclude([likely, sure], {"xray.a": "kind", "xray.b": "kind"})
    assert [f.presence for f in made] == [Presence.UNSURE, Presence.PRESENT]


def test_no_finding_is_called_absent_above_its_own_threshold() -> None:
    base = judge((view(), A)).findings[0]
    first, second = replace(base, id="xray.a", probability=1.0), replace(base, id="xray.b", threshold=0.0)
    below = replace(base, id="xray.c", presence=Presence.ABSENT, probability=0.1)
    made = exclude([first, second, below], dict.fromkeys(("xray.a", "xray.b", "xray.c"), "kind"))
    assert sorted(f.presence for f in made) == [Presence.ABSENT, Presence.PRESENT, Presence.UNSURE]
    assert made[2] == below


def test_a_group_without_a_present_finding_stays_as_it_is() -> None:
    base = judge((view(), A)).findings[0]
    unsure = replace(base, id="xray.a", presence=Presence.UNSURE, probability=0.5)
    absent = replace(base, id="xray.b", presence=Presence.ABSENT, probability=0.1)
    assert exclude([unsure, absent], {"xray.a": "kind", "xray.b": "kind"}) == (unsure, absent)


def test_findings_without_a_group_do_not_exclude_each_other() -> None:
    base = judge((view(), A)).findings[0]
    both: list[Finding] = [base, replace(base, id="xray.b")]
    assert exclude(both, {"xray.a": None, "xray.b": None}) == tuple(both)


STRANGE = np.array([3.0, 0, 0], np.float32)
"""Not unit norm, so that it lies at distance 3 from the centre."""


def test_out_of_scope_gives_no_findings_and_says_why() -> None:
    made = judge((view(), STRANGE))
    assert (made.status, made.findings, made.modality) == (Status.OUT_OF_SCOPE, (), "xray")
    assert made.reason == made.views[0].reason
    assert made.reason is not None
    assert "distance 3.0" in made.reason
    assert "2.0" in made.reason


def test_one_view_in_scope_is_enough_and_speaks_alone() -> None:
    made = judge((view("1.1"), STRANGE), (view("1.2"), B))
    assert made.status is Status.REPORTED
    assert {f.view for f in made.findings} == {1}
    assert [v.in_scope for v in made.views] == [False, True]
    assert made.views[0].reason is not None


def test_without_scope_statistics_nothing_is_refused() -> None:
    known = {"xray": replace(knowledge()["xray"], scope=None)}
    assert judge((view(), STRANGE), known=known).status is Status.REPORTED


def test_a_study_without_a_view_is_refused_with_the_readers_reason() -> None:
    skipped = (
        Skipped("1.1", "no-pixel-data", "There are no pixels."),
        Skipped("1.2", "not-dicom", "It is not DICOM."),
        Skipped("1.3", "not-dicom", "It is not DICOM."),
    )
    made = assess("1.9", StudyRead((), skipped), [], knowledge(), BUNDLE, {})
    assert (made.status, made.modality, made.findings) == (Status.REFUSED, None, ())
    assert made.reason == "No instance could be used: not-dicom (2), no-pixel-data (1). It is not DICOM."
    assert made.skipped == skipped


def test_an_empty_study_is_refused() -> None:
    made = assess("1.9", StudyRead((), ()), [], knowledge(), BUNDLE, {})
    assert made.reason == "The study holds no instance."


def test_a_modality_without_an_encoder_is_an_error() -> None:
    with pytest.raises(InferenceError, match="no encoder for modality xray"):
        assess("1.9", StudyRead((view(),), ()), [vectors(A)], {}, BUNDLE, {})
