"""What the command line says of findings and outcomes."""

import io
from pathlib import Path
from typing import Any

from rich.console import Console

from dicom_node.analyse import Outcome
from dicom_node.pixels.headers import NotDicom
from dicom_node.tables import (
    DemoRow,
    demo_table,
    not_dicom_lines,
    outcome_line,
    outcome_to_json,
    summary_of,
)


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


def test_the_table_of_the_demo_fits_a_terminal_of_80_columns() -> None:
    said = "Proliferative diabetic retinopathy 0.62, Left ventricular hypertrophy 0.67"
    row = DemoRow(
        "Lung histology, composed for demonstration",
        "pathology",
        said,
        Path("var/demo/pathology.dcm"),
        1.25,
    )
    paper = io.StringIO()
    Console(file=paper, width=80).print(demo_table([row]))
    printed = paper.getvalue()
    assert "\u2026" not in printed, "nothing is cut off"
    assert "var/demo/pathology.dcm" in printed
    assert "1.2" in printed
    for word in said.replace(",", "").split():
        assert word in printed


def test_no_probability_is_told_as_certain() -> None:
    assert summary_of([finding("Lung cancer", 0.9987, True)]) == "Lung cancer >0.99"
    assert summary_of([finding("Lung cancer", 0.0013, False)]) == "none present (highest: Lung cancer <0.01)"


def test_dicom_that_cannot_be_used_is_not_told_as_no_dicom() -> None:
    items = [
        NotDicom(Path("notes.txt"), "not-dicom", "It is not a DICOM Part 10 file."),
        NotDicom(Path("a.dcm"), "missing-uid", "StudyInstanceUID is missing."),
    ]
    assert not_dicom_lines(items) == [
        "not DICOM: notes.txt (It is not a DICOM Part 10 file.)",
        "not usable: a.dcm (StudyInstanceUID is missing.)",
    ]
