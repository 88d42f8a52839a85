"""Real DICOM objects, read as the node reads them: for the self-test, and to measure what no label tells."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread

from dicom_node.bundle.manifest import Encoder
from dicom_node.findings.assess import Knowledge
from dicom_node.inference.images import encode_samples
from dicom_node.inference.protocol import Runner
from dicom_node.pixels.select import read_study
from dicom_node.records import Instance, Presence, View
from export.said import judge

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """What is said of single real slices of patients who have a finding, slices not chosen for showing it.
    Specificity cannot be told from them."""

    id: str
    n: int
    in_scope: int
    present: int
    """Called present, were nothing out of scope."""
    lowest: float
    """Probability, likewise."""
    highest: float


def read_views(files: Sequence[Path], modality: str, encoder: Encoder) -> tuple[View, ...]:
    """The views of the objects in `files`, as the node would make them for this encoder."""
    return read_study([_instance(path) for path in files], {modality: encoder}).views


def _instance(path: Path) -> Instance:
    head, content = dcmread(path, stop_before_pixels=True), path.read_bytes()
    return Instance(
        study_uid=str(head.StudyInstanceUID),
        series_uid=str(head.SeriesInstanceUID),
        sop_instance_uid=str(head.SOPInstanceUID),
        sop_class_uid=str(head.SOPClassUID),
        transfer_syntax_uid=str(head.file_meta.TransferSyntaxUID),
        path=path,
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def sample_values(modality: str, encoder: Encoder) -> list[Floats]:
    """Encoder inputs (each `encoder.input_shape`) of the sample study that ships with the node for this
    modality; empty where there is none, or where it gives inputs of another shape."""
    folder = Path(str(resources.files("dicom_node") / "assets" / "samples" / modality))
    if not folder.is_dir():
        return []
    views = read_views(sorted(folder.glob("*.dcm")), modality, encoder)
    values = [sample.values for view in views for sample in view.samples]
    return [each for each in values if each.shape == encoder.input_shape]


def measure_slices(
    files: Sequence[Path], modality: str, encoder: Encoder, runner: Runner, known: Knowledge
) -> tuple[SliceFigures, ...]:
    """Each file as a study of its own; one result for each finding, none without files."""
    views = [view for path in files for view in read_views([path], modality, encoder)]
    vectors = [encode_samples(runner, [s.values for s in v.samples], encoder.input_shape) for v in views]
    figures = []
    for entry in known.findings if views else ():
        in_scope = sum(judge(entry, each, known) is not None for each in vectors)
        judged = [judge(entry, each, replace(known, scope=None)) for each in vectors]
        said = [finding for finding in judged if finding is not None]
        present = sum(finding.presence is Presence.PRESENT for finding in said)
        likely = [finding.probability for finding in said]
        figures.append(SliceFigures(entry.id, len(views), in_scope, present, min(likely), max(likely)))
    return tuple(figures)
