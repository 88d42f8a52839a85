"""Real reports as captions: what a report says in words and the codes of its record confirm.

A text is used if a patient of the training part has it (never one of `calib` or `val`). It states a finding
if it has a phrase for it (reports.toml) and the finding is coded as present in every training record with
this very text; it states health if it says so and the record is coded so. What a report does not mention it
does not deny, so nothing else is stated absent, and what its codes hold uncertain is not stated at all.
"Trace only requested" thus states nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from m3bind.data.catalogue import Labels, findings_of, labels_of
from m3bind.data.reports import folded, says, statements
from m3bind.data.sources import data_root, ptbxl_reports, training_part

LONGEST = 90
"""Characters. A longer text may be cut by a tokenizer before it has said all that it is taken to state."""
ABNORMAL, NORMAL = "ecg.abnormal", "ecg.normal"


def readable(report: str) -> str:
    """A report as a caption: folded, without the editors' note at the end and without a lone full stop."""
    return re.sub(r"\s*edit:.*$", "", folded(report)).strip(" .")


def _stated(text: str, labels: Labels) -> dict[str, int]:
    """What one report states of one record."""
    words = statements()
    found = {i: 1 for i, v in labels.items() if v == 1 and i in words and says(text, words[i])}
    if labels[ABNORMAL] == 0 and says(text, words[NORMAL]):
        found[ABNORMAL] = 0
    return found


@cache
def report_statements() -> Mapping[str, Mapping[str, int]]:
    """Text to what it states, in the order of the records."""
    specs = findings_of("ecg")
    found: dict[str, dict[str, int]] = {}
    for row, report in ptbxl_reports(data_root()):
        text = readable(report)
        if not text or len(text) > LONGEST or not training_part(row):
            continue
        stated = _stated(text, labels_of(specs, row.dataset, row.columns))
        before = found.setdefault(text, stated)
        found[text] = {i: v for i, v in before.items() if stated.get(i) == v}
    return {text: states for text, states in found.items() if states}
