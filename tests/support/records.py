"""The register of headers in memory: what `store.find_index.FindIndex` answers to the web room."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pydicom import Dataset

from dicom_node.matching.attributes import Attributes, to_json
from dicom_node.matching.keys import KEYS, Level, tag_of
from dicom_node.store.find_facts import FoundRow, Narrowing, Rows

LEVELS = {Rows.STUDIES: Level.STUDY, Rows.SERIES: Level.SERIES, Rows.INSTANCES: Level.IMAGE}


class RecordsInMemory:
    """Headers, an object at a time. Narrows by UIDs alone, as the real one may narrow less than it could."""

    def __init__(self) -> None:
        self.objects: list[tuple[Dataset, str | None]] = []
        self.noted: list[dict[str, Any]] = []

    def add(self, dataset: Dataset, origin: str | None = None) -> None:
        """Register an object."""
        self.objects.append((dataset, origin))

    @contextmanager
    def rows(
        self, kind: Rows, narrowing: Narrowing, computed: Collection[str] = ()
    ) -> Iterator[Iterator[FoundRow]]:
        """The first object speaks for its study and its series."""
        level = LEVELS[kind]
        found: dict[tuple[str, ...], FoundRow] = {}
        for dataset, origin in self.objects:
            uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
            wanted = (narrowing.study_uids, narrowing.series_uids, narrowing.sop_instance_uids)
            if any(asked and uid not in asked for asked, uid in zip(wanted, uids, strict=True)):
                continue
            told = _up_to(level, to_json(dataset))
            counted = {tag: self._computed(tag, uids[0]) for tag in computed}
            row = FoundRow(
                study_uid=uids[0],
                series_uid=uids[1] if level >= Level.SERIES else None,
                sop_instance_uid=uids[2] if level >= Level.IMAGE else None,
                origin=origin,
                attributes=told,
                computed=counted,
            )
            found.setdefault(uids[:level], row)
        yield iter(found.values())

    def note_asked(self, event: str, **detail: Any) -> None:
        """Keep the line."""
        self.noted.append({"event": event, **detail})

    def _computed(self, tag: str, study_uid: str) -> Any:
        mine = [dataset for dataset, _ in self.objects if study_uid == dataset.StudyInstanceUID]
        if tag == tag_of("ModalitiesInStudy"):
            return sorted({dataset.Modality for dataset in mine})
        if tag == tag_of("NumberOfStudyRelatedSeries"):
            return len({dataset.SeriesInstanceUID for dataset in mine})
        return len(mine)


def _up_to(level: Level, attributes: Attributes) -> Attributes:
    return {tag: entry for tag, entry in attributes.items() if tag in KEYS and KEYS[tag].level <= level}
