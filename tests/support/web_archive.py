"""An archive that the pages search: an index in memory with real pixels behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

from pydicom import Dataset

from dicom_node.pixels.headers import read_instance
from dicom_node.search.answer import Searcher
from dicom_node.search.service import AskedArchive
from dicom_node.store.states import StudyState
from tests.support.questions import CATALOGUE, TODAY, VOCABULARY, speaker, study
from tests.support.search_index import IndexInMemory
from tests.support.studies import StudiesInMemory, record
from tests.support.tree import ROOT
from tests.support.web_node import Node

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"
HOSTILE_NAME = "<h6>Muster</h6>^<script>broken()</script>"


class Trail:
    """The audit trail of questions."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def note_asked(self, door: str, asker: str, **detail: Any) -> None:
        """Keep the line."""
        self.lines.append({"door": door, "asker": asker, **detail})


def archived(node: Node) -> Trail:
    """Fill the node: radiographs 1 (pneumonia) and 2 (effusion), CT 3 (cancer). The pixels of 2 are gone."""
    index, trail = IndexInMemory(), Trail()
    held = node.studies
    shown = (
        (
            1,
            "xray",
            {"xray.pneumonia": 0.92, "xray.pleural_effusion": 0.08},
            "pneumonia",
            "xray/chest-pa.dcm",
        ),
        (2, "xray", {"xray.pneumonia": 0.12, "xray.pleural_effusion": 0.81}, "effusion", "xray/gone.dcm"),
        (3, "ct", {"ct.malignant_tumour": 0.7}, "cancer", "ct/slice-3.dcm"),
    )
    for number, modality, findings, shows, path in shown:
        assessed = study(
            number,
            modality,
            findings,
            shows=shows,
            study_date=date(2026, 10, number),
            sex="F" if number % 2 else "M",
            age=60.0 + number,
        )
        index.add(assessed)
        held.add(record(assessed.study_uid, StudyState.REPORTED, number), assessed)
        _add_object(node, held, assessed.study_uid, modality, path)
    assert len(CATALOGUE) > len(shown)
    node.archive = AskedArchive(Searcher(index, speaker(), VOCABULARY, lambda: TODAY), trail)
    return trail


def _add_object(node: Node, held: StudiesInMemory, uid: str, modality: str, path: str) -> None:
    sample = read_instance(SAMPLES / path) if (SAMPLES / path).exists() else None
    base = sample or read_instance(SAMPLES / "xray" / "chest-pa.dcm")
    instance = replace(
        base,
        study_uid=uid,
        series_uid=f"{uid}.1",
        sop_instance_uid=f"{uid}.1.1",
        path=SAMPLES / path,
    )
    held.files[uid] = [instance]
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyInstanceUID, header.SeriesInstanceUID = uid, f"{uid}.1"
    header.SOPInstanceUID, header.SOPClassUID = f"{uid}.1.1", base.sop_class_uid
    header.PatientName, header.PatientID = (
        HOSTILE_NAME if uid.endswith(".1") else "Müller^Jörg",
        f"P{uid[-1]}",
    )
    header.StudyDate, header.StudyDescription = f"2026100{uid[-1]}", "Thorax & Herz"
    header.Modality = {"xray": "DX", "ct": "CT"}[modality]
    header.Rows, header.Columns = 12, 12
    node.records.add(header, "main" if uid.endswith(".1") else None)
