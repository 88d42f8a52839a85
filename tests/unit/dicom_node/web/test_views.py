"""Numbers as words."""

import pytest

from dicom_node.facts import evidence_to_json
from dicom_node.records import Evidence, SourceRef
from dicom_node.web.views import chips, evidence_text, meaning, modality_name, percent

SOURCE = SourceRef("1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.3", frame=4)


@pytest.mark.parametrize(
    ("probability", "text"), [(0.0, "< 1 %"), (0.01, "1 %"), (0.5, "50 %"), (0.99, "99 %"), (1.0, "> 99 %")]
)
def test_a_model_is_never_told_as_certain(probability: float, text: str) -> None:
    assert percent(probability) == text


def test_evidence_names_the_frame() -> None:
    evidence = Evidence(SOURCE, outline=((0, 0), (10, 0), (10, 20)), share=0.5)
    expected = (
        "columns 0 to 10, rows 0 to 20 of instance 1.2.3, frame 4; carries 50 % of the positive evidence"
    )
    assert evidence_text(evidence_to_json(evidence)) == expected


def test_a_share_of_all_is_told_as_all() -> None:
    evidence = Evidence(SOURCE, span=(0.0, 10.0), share=1.0)
    told = evidence_text(evidence_to_json(evidence))
    assert told == "0.0 s to 10.0 s of instance 1.2.3, frame 4; carries 100 % of the positive evidence"


def test_evidence_without_region_is_the_whole_object() -> None:
    assert evidence_text(evidence_to_json(Evidence(SOURCE))) == "the whole of instance 1.2.3, frame 4"


def test_an_unknown_modality_is_shown_as_it_is() -> None:
    assert [modality_name("xray"), modality_name("oct_angio"), modality_name(None)] == [
        "Radiograph",
        "oct_angio",
        "–",
    ]


def test_chips_leave_out_what_is_absent_and_order_the_rest() -> None:
    said = [("a", 0.3, "unsure"), ("b", 0.6, "present"), ("c", 0.1, "absent"), ("d", 0.9, "present")]
    findings = [{"name": name, "probability": p, "presence": presence} for name, p, presence in said]
    assert [chip.name for chip in chips(findings)] == ["d", "b", "a"]


def test_the_two_eyes_are_told_apart() -> None:
    eyes = [
        {"name": "Drusen", "probability": 0.8, "presence": "present", "laterality": side}
        for side in ("L", "R")
    ]
    assert [chip.name for chip in chips(eyes)] == ["Drusen (left)", "Drusen (right)"]


def test_an_excluded_finding_is_not_called_too_close_to_call() -> None:
    assert "excludes" in meaning("unsure", 0.6, 0.23)
    assert "too close" in meaning("unsure", 0.2, 0.23)
