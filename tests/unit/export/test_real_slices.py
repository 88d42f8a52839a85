"""Real slices of the sample that ships, through a runner whose answers are known."""

from collections.abc import Mapping

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the train extra")

from dicom_node.bundle.catalogue import Calibration, CodeEntry, FindingEntry, Prompts
from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge
from dicom_node.findings.prompts import Anchors
from dicom_node.findings.scope import ScopeStatistics
from dicom_node.inference.protocol import Array
from export.card_tables import slice_lines
from export.dicom import SliceFigures, measure_slices
from m3bind.config import load_recipe
from tests.support.samples import sample_files

pytestmark = pytest.mark.train

PART = load_recipe("mini").modalities["ct"]
ENCODER = Encoder(
    file="x.onnx",
    reader=PART.reader,
    sampling=PART.sampling,
    preprocess=PART.preprocess,
    input_shape=PART.input_shape,
    evidence=False,
    pooling=PART.pooling,
)


class Rising:
    """Answers each input with a longer vector along the first axis: 1, 2, 3 and so on."""

    def __init__(self) -> None:
        self.seen = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.seen += 1
        assert inputs["input"].shape == (1, *ENCODER.input_shape)
        return {"embedding": np.array([[self.seen, 0.0]], dtype=np.float32)}


def test_every_slice_is_a_study_of_its_own_and_none_hides_behind_the_scope() -> None:
    entry = FindingEntry(
        id="ct.malignant_tumour",
        modality="ct",
        name="Lung cancer",
        code=CodeEntry(value="1", scheme="SCT", meaning="A"),
        prompts=Prompts(affirmed=("a",), negated=("no a",)),
        calibration=Calibration(slope=1.0, intercept=-2.5),
        threshold=0.5,
    )
    anchors = Anchors((entry.id,), np.eye(1, 2, dtype=np.float32), np.zeros((1, 2), np.float32))
    scope = ScopeStatistics(np.zeros(2), np.zeros((0, 2)), np.zeros(0), 1.0, 3.5)
    files = sample_files("ct")
    known = Knowledge((entry,), anchors, ENCODER.pooling, scope)
    (told,) = measure_slices(files, "ct", ENCODER, Rising(), known)
    assert (told.n, told.in_scope, told.present) == (5, 3, 3)
    assert told.lowest == pytest.approx(1 / (1 + np.exp(1.5)))
    assert told.highest == pytest.approx(1 / (1 + np.exp(-2.5)))
    assert measure_slices([], "ct", ENCODER, Rising(), known) == ()


def test_the_card_says_what_slices_of_the_ill_cannot_tell() -> None:
    (line,) = slice_lines([SliceFigures("ct.malignant_tumour", 12, 11, 12, 0.7, 0.9)])
    assert "12 lie above the threshold, at 0.700 to 0.900" in line
    assert "1 would be out of scope" in line
    assert "specificity on DICOM CT is unknown" in line
    assert slice_lines([]) == []
