"""What the command line prints: facts to lines and tables, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from dicom_node.analyse import Outcome
from dicom_node.bundle.catalogue import FindingEntry
from dicom_node.facts import DISCLAIMER, assessment_to_json, finding_name
from dicom_node.pixels.headers import NotDicom

LEGEND = (
    "Named: at or above the threshold of the finding, which may lie far below 0.5 (dicom-node bundle show). "
    f"With ?: undetermined, the model abstains. {DISCLAIMER}"
)


NOT_DICOM = "not-dicom"
"""The reason of a file of another kind."""


def probability_words(probability: float) -> str:
    """Two digits, but never 0.00 or 1.00, which no model can claim."""
    if probability < 0.01:
        return "<0.01"
    return ">0.99" if probability > 0.99 else f"{probability:.2f}"


def finding_words(finding: dict[str, Any]) -> str:
    """`Pneumonia 0.83`, with a question mark where the model abstains."""
    mark = "?" if finding["present"] is None else ""
    return f"{finding_name(finding)}{mark} {probability_words(finding['probability'])}"


def summary_of(findings: Sequence[dict[str, Any]]) -> str:
    """Present findings first, then the unsure ones; where there are none, the likeliest absent one."""
    by_probability = sorted(findings, key=lambda f: -f["probability"])
    shown = [f for f in by_probability if f["present"]] + [f for f in by_probability if f["present"] is None]
    if shown:
        return ", ".join(finding_words(f) for f in shown)
    if not by_probability:
        return "-"
    return f"none present (highest: {finding_words(by_probability[0])})"


def explained(told: dict[str, Any]) -> list[str]:
    """What `explain` found out, as lines."""
    lines = [told["file"]]
    if "object" in told:
        about = told["object"]
        decoders = ", ".join(about["decoders"]) or "none here"
        lines += [
            f"  object     {about['sop_class']} ({about['sop_class_uid']}), {about['bytes']} bytes",
            f"  encoding   {about['transfer_syntax']}; decoded by {decoders}",
        ]
    if "attributes" in told:
        said = (
            f"{name} {chr(92).join(value) if isinstance(value, list) else value}"
            for name, value in told["attributes"].items()
        )
        lines += [
            f"  says       {', '.join(said)}",
            f"  rule       {told['rule'] or 'none: nothing here reads this class'}",
        ]
    for view in told.get("views", ()):
        shape = " x ".join(map(str, view["input_shape"]))
        lines.append(f"  becomes    {view['modality']}: {view['samples']} sample(s) of {shape}")
        lines.append(f"             by {', '.join(view['operations'])}")
        lines += [f"  note       {note}" for note in view["notes"]]
    if not told["used"]:
        lines.append(f"  not used   {told['reason']}: {told['message']}")
    return lines


def outcome_line(outcome: Outcome) -> str:
    """One line for one analysed study."""
    if outcome.assessment is None:
        return f"{outcome.study_uid}  failed: {outcome.error}"
    told = assessment_to_json(outcome.assessment)
    what = summary_of(told["findings"]) if told["status"] == "reported" else told["reason"]
    return f"{outcome.study_uid}  {told['modality'] or '-'}  {told['status']}: {what}"


def outcome_to_json(outcome: Outcome) -> dict[str, Any]:
    """What `analyse --json` prints of one study."""
    return {
        "study_uid": outcome.study_uid,
        "status": "failed" if outcome.assessment is None else outcome.assessment.status.value,
        "reason": outcome.error if outcome.assessment is None else outcome.assessment.reason,
        "json": None if outcome.json_path is None else str(outcome.json_path),
        "report": None if outcome.report_path is None else str(outcome.report_path),
    }


def not_dicom_lines(items: Iterable[NotDicom]) -> list[str]:
    """One line for each file that is no DICOM, or DICOM that cannot be used."""
    return [
        f"{'not DICOM' if item.reason == NOT_DICOM else 'not usable'}: {item.path} ({item.message})"
        for item in items
    ]


def repeated_lines(pairs: Iterable[tuple[Path, Path]]) -> list[str]:
    """One line for each file of an instance that another file holds, too."""
    return [f"not read: {path} (the same SOP instance as {first})" for path, first in pairs]


def bundle_table(entries: Sequence[FindingEntry], *, stacked: bool = False) -> Table:
    """The catalogue of a bundle: what was measured, and what is reported without being asked for. A row is a
    line, for which there must be room; `stacked`, for narrow windows, cuts no id: configurations name it."""
    if not stacked:
        table = Table(*_BUNDLE_HEAD)
        for entry in entries:
            table.add_row(*_bundle_cells(entry))
        return table
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    longest = max((len(entry.id) for entry in entries), default=0)
    table.add_column("id, finding, code", width=longest, overflow="fold")
    table.add_column("reported", overflow="fold")
    table.add_column("threshold, AUC (95 % CI), measured on", overflow="fold")
    for entry in entries:
        cells = _bundle_cells(entry)
        table.add_row("\n".join(cells[:3]), cells[3], "\n".join(cells[4:]))
        table.add_section()
    return table


_BUNDLE_HEAD = ("id", "finding", "code", "reported", "threshold", "AUC (95 % CI)", "measured on")


def _bundle_cells(entry: FindingEntry) -> tuple[str, ...]:
    measured = entry.measured
    return (
        entry.id,
        entry.name,
        f"{entry.code.value} ({entry.code.scheme})",
        "yes" if entry.enabled else f"no: {entry.disabled_because}",
        f"{entry.threshold:.2f}",
        "-"
        if measured is None
        else f"{measured.auc:.3f} ({measured.auc_ci[0]:.3f}-{measured.auc_ci[1]:.3f})",
        "-" if measured is None else f"{measured.split}, n={measured.n}, {measured.positives} positive",
    )


@dataclass(frozen=True, slots=True)
class DemoRow:
    """One study of the demo."""

    study: str
    modality: str
    findings: str
    report: Path | None
    seconds: float
    """From the last C-STORE's answer to the report on disk."""


def demo_table(rows: Sequence[DemoRow]) -> Table:
    """The table that `make demo` prints."""
    table = Table(box=SIMPLE_HEAD, caption=LEGEND, caption_justify="left", pad_edge=False)
    table.add_column("study", overflow="fold")
    table.add_column("modality", no_wrap=True)
    table.add_column("findings with probability", overflow="fold")
    table.add_column("SR file", no_wrap=True)
    table.add_column("seconds", no_wrap=True, justify="right")
    for row in rows:
        table.add_row(
            row.study,
            row.modality,
            row.findings,
            "-" if row.report is None else str(row.report),
            f"{row.seconds:.1f}",
        )
    return table
