"""What a header says of patient and study."""

from __future__ import annotations

from datetime import date

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_node.pixels.headers import walk
from dicom_node.pixels.quiet import quiet
from dicom_node.pixels.select import read_study
from dicom_node.pixels.traits import as_age, as_date, as_sex, read_traits
from dicom_node.records import Traits
from tests.support.pixel_objects import SAMPLES, encoder


def header(**attributes: str) -> Dataset:
    made = Dataset()
    with quiet:  # some of it is odd
        for keyword, value in attributes.items():
            setattr(made, keyword, value)
    return made


def test_all_that_is_said_is_read() -> None:
    said = header(
        PatientID=" A-7 ",
        PatientSex="F",
        PatientAge="061Y",
        PatientBirthDate="19640229",
        StudyDate="20260102",
        BodyPartExamined="chest",
    )
    assert read_traits(said) == Traits("A-7", "F", 61.0, 1964, date(2026, 1, 2), "CHEST")


def test_nothing_said_is_nothing_known() -> None:
    assert read_traits(Dataset()) == Traits()


def test_without_an_age_the_dates_tell_it() -> None:
    found = read_traits(header(PatientBirthDate="19660102", StudyDate="20260102"))
    assert found.age == pytest.approx(60.0, abs=0.01)
    assert read_traits(header(PatientBirthDate="20260102", StudyDate="19660102")).age is None


def test_what_cannot_be_understood_counts_as_not_said() -> None:
    odd = header(PatientSex="?", PatientAge="old", PatientBirthDate="19991301", StudyDate="2026")
    assert read_traits(odd) == Traits()


@pytest.mark.parametrize(
    ("told", "years"),
    [("060Y", 60.0), ("018M", 1.5), ("052W", 0.9966), ("010D", 0.0274), ("999Y", None), ("60", None)],
)
def test_ages_have_units(told: str, years: float | None) -> None:
    found = as_age(told)
    assert found is None if years is None else found == pytest.approx(years, abs=1e-3)


def test_dates_with_the_dots_of_acr_nema_are_dates() -> None:
    assert as_date("2026.01.02") == as_date("20260102") == date(2026, 1, 2)


def test_sex_is_one_of_three() -> None:
    assert [as_sex(value) for value in ("m", "F", "O", "X")] == ["M", "F", "O", None]


def test_every_view_of_the_samples_tells_what_its_own_object_says() -> None:
    instances, _ = walk([SAMPLES / "xray", SAMPLES / "ecg"])
    encoders = {"xray": encoder("radiograph"), "ecg": encoder("ecg", seconds=10)}
    for view in read_study(instances, encoders).views:
        (path,) = [i.path for i in instances if i.sop_instance_uid == view.sources[0].sop_instance_uid]
        said = dcmread(path, stop_before_pixels=True)
        assert (view.traits.patient_id, view.traits.sex) == (said.PatientID, said.PatientSex)
        assert view.traits.age is not None
