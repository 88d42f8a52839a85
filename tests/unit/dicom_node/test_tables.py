"""What the command line says of findings and outcomes."""

from typing import Any

from dicom_node.analyse import Outcome
from dicom_node.tables import outcome_line, outcome_to_json, summary_of


def finding(name: str, probability: float, present: bool | None) -> dict[str, Any]:
    return {"name": name, "probability": probability, "present": present}


def test_present_findings_come_first_and_unsure_ones_are_marked() -> None:
    told = summary_of(
        [
            finding("Atelectasis", 0.45, None),
            finding("Pneumothorax", 0.02, False),
            finding("Pneumonia", 0.8, True),
        ]
    )
    assert told == "Pneumonia 0.80, Atelectasis? 0.45"


def test_nothing_present_is_said_so() -> None:
    assert summary_of([finding("Pneumonia", 0.1, False)]) == "none present (highest: Pneumonia 0.10)"
    assert summary_of([]) == "-"


def test_a_failed_study_is_told_with_its_error() -> None:
    outcome = Outcome("1.2.3", None, "OSError: disk gone", None, None)
    assert outcome_line(outcome) == "1.2.3  failed: OSError: disk gone"
    assert outcome_to_json(outcome)["status"] == "failed"
