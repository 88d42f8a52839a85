"""A small catalogue that questions are asked of, and the way to ask them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.findings.assess import presence
from dicom_node.records import (
    Assessment,
    BundleIdentity,
    Code,
    Evidence,
    Finding,
    SourceRef,
    Status,
    Traits,
    ViewSummary,
)
from dicom_node.search.ports import Speaker
from dicom_node.search.query import parse
from dicom_node.search.question import Question
from dicom_node.search.terms import terms_of
from dicom_node.search.vocabulary import load_vocabulary

TODAY = date(2026, 11, 22)
"""A Sunday."""


def entry(
    identifier: str, name: str, *terms: str, threshold: float = 0.5, unsure_from: float | None = None
) -> FindingEntry:
    """A finding of the catalogue, prompted as bundles prompt it."""
    said = (name.lower(), *terms)
    return FindingEntry(
        id=identifier,
        modality=identifier.partition(".")[0],
        name=name,
        code=CodeEntry(value="1", scheme="99TEST", meaning=name),
        prompts=Prompts(
            affirmed=tuple(f"evidence of {term}" for term in said) + said,
            negated=tuple(f"no evidence of {term}" for term in said) + tuple(f"no {term}" for term in said),
        ),
        calibration=Calibration(slope=10.0, intercept=0.0),
        threshold=threshold,
        unsure_from=unsure_from,
    )


PNEUMONIA = entry("xray.pneumonia", "Pneumonia", "pulmonary infection", unsure_from=0.3)
EFFUSION = entry("xray.pleural_effusion", "Pleural effusion", "fluid in the pleural space")
PNEUMOTHORAX = entry("xray.pneumothorax", "Pneumothorax", "air in the pleural space")
NODULE = entry("xray.nodule", "Pulmonary nodule")
EDEMA = entry("xray.pulmonary_edema", "Pulmonary edema")
CANCER = entry("ct.malignant_tumour", "Lung cancer", "malignant lung tumour")
RETINOPATHY = entry("retina.diabetic_retinopathy", "Diabetic retinopathy")
MACULA = entry("retina.macular_edema", "Diabetic macular edema", "macular oedema")
AXIS = entry("ecg.left_axis_deviation", "Left axis deviation")
ST_T = entry("ecg.st_t_abnormality", "Nonspecific ST-T abnormality", "non-diagnostic t wave changes")
ABNORMAL = entry("ecg.abnormal", "Abnormal ECG", "abnormalities").model_copy(
    update={
        "prompts": Prompts(
            affirmed=("ecg showing abnormalities",), negated=("ecg without abnormalities", "normal ecg")
        )
    }
)
CATALOGUE = (
    PNEUMONIA, EFFUSION, PNEUMOTHORAX, NODULE, EDEMA, CANCER, RETINOPATHY, MACULA, AXIS, ST_T, ABNORMAL,
)  # fmt: skip

VOCABULARY = load_vocabulary()
TERMS = terms_of(CATALOGUE, VOCABULARY)


def understood(text: str, today: date = TODAY) -> Question:
    """The question, parsed with the catalogue above."""
    return parse(text, VOCABULARY, TERMS, today)


def told(text: str) -> str:
    """Its statements in one line: `+` there, `-` not there, `|` between alternatives."""
    return ", ".join(
        " | ".join(("+" if one.present else "-") + one.text.lower() for one in group.any_of)
        for group in understood(text).all_of
    )


AXES = (
    "pneumonia",
    "infection",
    "effusion",
    "pneumothorax",
    "nodule",
    "edema",
    "cancer",
    "retinopathy",
    "cavity",
)
"""What texts and images are told apart by here; a dimension more keeps any of them from being zero."""
BUNDLE = BundleIdentity("questions", "1.0.0", "ab" * 32)
SPEAKER_MODALITIES = ("xray", "ct", "retina", "ecg")
UNSCORED = "xray.nodule"
"""The bundle knows it, and the node does not report it."""


def embedded(texts: Sequence[str]) -> NDArray[np.float32]:
    """(N, D) unit norm: each text along the axes that it names, backwards where it denies them."""
    rows = np.zeros((len(texts), len(AXES) + 1), dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        row[-1] = 0.5
        for axis, word in enumerate(AXES):
            if word in text:
                row[axis] = -1.0 if text.startswith("no ") else 1.0
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def speaker() -> Speaker:
    """The catalogue with that text encoder."""
    scored = frozenset(entry.id for entry in CATALOGUE) - {UNSCORED}
    return Speaker(BUNDLE, SPEAKER_MODALITIES, CATALOGUE, scored, embedded)


def study(
    number: int,
    modality: str,
    probabilities: Mapping[str, float],
    *,
    shows: str = "",
    in_scope: bool = True,
    laterality: str | None = None,
    **traits: Any,
) -> Assessment:
    """Study `number` of one view, in which `probabilities` (by finding id) were found; the image lies where
    the words of `shows` lie. `traits`: as of `records.Traits`."""
    uid = f"2.25.{number}"
    source = SourceRef("1.2.840.10008.5.1.4.1.1.1", f"{uid}.1.1")
    outline = ((0.0, 0.0), (9.0, 0.0), (9.0, 9.0))
    region = Evidence(source, outline, share=0.5, embedding=embedded([shows])[0])
    by_id = {entry.id: entry for entry in CATALOGUE}
    findings = tuple(
        Finding(
            id=name,
            name=by_id[name].name,
            code=Code("1", "99TEST", by_id[name].name),
            modality=modality,
            probability=value,
            margin=0.0,
            threshold=by_id[name].threshold,
            presence=presence(value, by_id[name].threshold, by_id[name].unsure_from),
            series_uid=f"{uid}.1",
            view=0,
            evidence=(region,) if value >= 0.5 else (),
            laterality=laterality,
        )
        for name, value in probabilities.items()
    )
    view = ViewSummary(
        modality=modality,
        series_uid=f"{uid}.1",
        sources=(source,),
        embedding=embedded([shows])[0],
        in_scope=in_scope,
        scope_score=0.0,
        laterality=laterality,
        traits=Traits(**traits),
    )
    return Assessment(uid, modality, Status.REPORTED, None, findings, (view,), (), BUNDLE, {})


def archive() -> tuple[Assessment, ...]:
    """Radiographs 1 to 4 with pneumonia of falling probability, effusion the other way round, 5 out of scope;
    CT 6 and 7; eyes 8 (left) and 9 (right)."""
    found = (
        (0.95, 0.1, "pneumonia"),
        (0.7, 0.3, "pneumonia"),
        (0.35, 0.7, "effusion"),
        (0.05, 0.9, "effusion"),
    )
    return (
        *(
            study(
                number,
                "xray",
                {PNEUMONIA.id: pneumonia, EFFUSION.id: effusion},
                shows=shows,
                study_date=date(2026, 10, number),
                sex="F" if number % 2 else "M",
                age=50.0 + 10 * number,
                body_part="CHEST" if number < 4 else None,
            )
            for number, (pneumonia, effusion, shows) in enumerate(found, start=1)
        ),
        study(5, "xray", {PNEUMONIA.id: 0.99, EFFUSION.id: 0.01}, shows="pneumonia", in_scope=False),
        study(6, "ct", {CANCER.id: 0.9}, shows="cancer", study_date=date(2026, 9, 1)),
        study(7, "ct", {CANCER.id: 0.1}, shows="cavity", study_date=date(2026, 9, 2)),
        study(8, "retina", {RETINOPATHY.id: 0.9}, shows="retinopathy", laterality="L"),
        study(9, "retina", {RETINOPATHY.id: 0.8}, shows="retinopathy", laterality="R"),
    )
