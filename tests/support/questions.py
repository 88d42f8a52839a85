"""A small catalogue that questions are asked of, and the way to ask them."""

from __future__ import annotations

from datetime import date

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
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
