"""Objects whose headers are worth asking about: names in several scripts, dates, times, zones, sequences."""

from __future__ import annotations

from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID, ComputedRadiographyImageStorage, CTImageStorage, ExplicitVRLittleEndian

from tests.support.small_dicom import ROOT, make_dataset, write_file

KANJI = "Yamada^Tarou=山田^太郎=やまだ^たろう"


def study(
    number: int,
    *,
    name: str = "Doe^Jane",
    patient_id: str = "P1",
    date: str = "20240115",
    time: str = "101530",
    modality: str = "CT",
    description: str = "",
    accession: str = "",
    character_set: str | list[str] | None = None,
    instances: int = 1,
    series: int = 1,
    **more: object,
) -> list[Dataset]:
    """The objects of a study: `series` series of `instances` each, of one modality."""
    made = []
    for of_series in range(1, series + 1):
        for of_instance in range(1, instances + 1):
            one = make_dataset(number, of_instance, series=of_series)
            if character_set is not None:
                one.SpecificCharacterSet = character_set
            one.SOPClassUID = CTImageStorage if modality == "CT" else ComputedRadiographyImageStorage
            one.PatientName = name
            one.PatientID = patient_id
            one.PatientSex = "F"
            one.StudyDate, one.StudyTime = date, time
            one.Modality = modality
            one.StudyDescription = description
            one.AccessionNumber = accession
            one.SeriesNumber = of_series
            for keyword, value in more.items():
                setattr(one, keyword, value)
            made.append(one)
    return made


def uid(number: int, *further: int) -> str:
    """Of `study(number)`, of one of its series, of one of its instances."""
    return ".".join([ROOT, str(number), *map(str, further)])


def write(folder: Path, datasets: list[Dataset], syntax: UID = ExplicitVRLittleEndian) -> list[Path]:
    """One file per object."""
    return [write_file(folder / f"{one.SOPInstanceUID}.dcm", one, syntax) for one in datasets]
