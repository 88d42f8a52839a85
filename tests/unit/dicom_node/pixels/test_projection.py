"""Which attribute tells the side that a radiograph was taken from, and what of it gets into the record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dicom_node.pixels.projection import Kind, projection
from dicom_node.pixels.select import read_study
from dicom_node.records import StudyRead
from tests.support.pixel_objects import encoder, radiograph, save

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def told(**attributes: object) -> Dataset:
    ds = Dataset()
    for name, value in attributes.items():
        setattr(ds, name, value)
    return ds


def coded(value: str, scheme: str) -> list[Dataset]:
    return [told(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning="x")]


def read(folder: Path, **attributes: object) -> StudyRead:
    ds = radiograph(RAMP, bits=12)
    for name, value in attributes.items():
        setattr(ds, name, value)
    return read_study([save(ds, folder)], {"xray": encoder("radiograph")})


@pytest.mark.parametrize(
    ("said", "kind", "position"),
    [
        ("PA", Kind.FRONTAL, "PA"),
        ("AP SUPINE", Kind.FRONTAL, "AP"),
        ("RL", Kind.LATERAL, "RL"),
        ("LEFT LATERAL", Kind.LATERAL, "LATERAL"),
        ("LLO", Kind.LATERAL, "LATERAL"),
        ("LLD", Kind.FRONTAL, "FRONTAL"),
        ("LAT DECUB", Kind.FRONTAL, "FRONTAL"),
        ("AP OBLIQUE", Kind.OBLIQUE, "OBLIQUE"),
        ("RAO", Kind.OBLIQUE, "OBLIQUE"),
    ],
)
def test_view_position(said: str, kind: Kind, position: str) -> None:
    found = projection(told(ViewPosition=said))
    assert (found.kind, found.position, found.told_by) == (kind, position, "View Position")


@pytest.mark.parametrize("said", ["", "CHEST", "PA/LAT", "BILATERAL", "UNKNOWN"])
def test_words_that_tell_nothing(said: str) -> None:
    assert projection(told(ViewPosition=said.replace("/", " "))).kind is None
    assert projection(told(SeriesDescription=said)).kind is None


@pytest.mark.parametrize(
    ("name", "said", "kind"),
    [
        ("SeriesDescription", "Thorax lat.", Kind.LATERAL),
        ("SeriesDescription", "W033 Chest p.a.", Kind.FRONTAL),
        ("ProtocolName", "Thorax seitlich", Kind.LATERAL),
        ("AcquisitionDeviceProcessingDescription", "CHEST, LATERAL", Kind.LATERAL),
    ],
)
def test_descriptions_where_nothing_else_tells(name: str, said: str, kind: Kind) -> None:
    assert projection(told(**{name: said})).kind is kind
    assert projection(told(**{name: said}, ViewPosition="RAO")).kind is Kind.OBLIQUE
    assert projection(told(**{name: said}, PatientOrientation=["L", "F"])).kind is kind


@pytest.mark.parametrize(
    "said",
    [
        "Thorax face/profil",
        "TORAX POSTEROANTERIOR Y LATERAL",
        "TÓRAX FRENTE Y PERFIL",
        "Torace frontale e laterale",
        "Thorax d.v. und seitlich",
        "Chest A-P / LAT",
        "Thorax en deux incidences & profil",
        "CHEST ROUTINE PROFILE",
    ],
)
def test_a_description_of_several_views_refuses_none(said: str) -> None:
    for name in ("SeriesDescription", "ProtocolName", "AcquisitionDeviceProcessingDescription"):
        assert projection(told(**{name: said})).kind is None


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Tórax en decúbito lateral", Kind.FRONTAL),
        ("Thorax P-A", Kind.FRONTAL),
        ("thorax a/p liggend", Kind.FRONTAL),
        ("Tórax anteroposterior", Kind.FRONTAL),
        ("Tórax perfil", Kind.LATERAL),
        ("thorax lateraal", Kind.LATERAL),
    ],
)
def test_descriptions_of_other_languages(said: str, kind: Kind) -> None:
    assert projection(told(SeriesDescription=said)).kind is kind


@pytest.mark.parametrize(
    ("orientation", "kind"),
    [
        (["L", "F"], Kind.FRONTAL),
        (["R", "F"], Kind.FRONTAL),
        (["P", "F"], Kind.LATERAL),
        (["AL", "FL"], Kind.LATERAL),
        (["F", "A"], Kind.LATERAL),  # a lateral view stored on its side
        (["F", "L"], Kind.FRONTAL),
        (["H", "F"], None),
        (["L", "A"], None),
    ],
)
def test_patient_orientation(orientation: list[str], kind: Kind | None) -> None:
    assert projection(told(PatientOrientation=orientation)).kind is kind


def test_every_view_of_the_standard_that_is_frontal_lateral_or_oblique_is_known() -> None:
    group = codes.CID4010
    for name in group.dir():
        code = getattr(group, name)
        found = projection(told(ViewCodeSequence=coded(code.value, "SCT"))).kind
        words = code.meaning.replace("-", " ").lower().split()
        if "oblique" in words and not {"caudo", "cranio", "lateral", "latero", "medio", "medial"} & set(
            words
        ):
            assert found is Kind.OBLIQUE, code.meaning
        elif "lateral" in words and "oblique" not in words:
            assert found is Kind.LATERAL, code.meaning
        elif code.meaning in ("antero-posterior", "postero-anterior", "frontal"):
            assert found is Kind.FRONTAL, code.meaning
    assert projection(told(ViewCodeSequence=coded("R-10236", "SNM3"))).position == "LL"
    assert projection(told(ViewCodeSequence=coded("399173006", "99ACME"))).kind is None


def test_what_is_told_gets_into_the_record(tmp_path: Path) -> None:
    (view,) = read(tmp_path, ViewCodeSequence=coded("272479007", "SCT")).views
    assert view.view_position == "PA"
    assert not any("view" in note for note in view.notes)
    (view,) = read(tmp_path).views
    assert view.view_position is None
    assert any("frontal or lateral) is not told" in note for note in view.notes)
    (view,) = read(tmp_path, ViewPosition="AP", PatientOrientation=["P", "F"]).views
    assert view.view_position == "AP"
    assert any(
        note == "It is frontal by View Position, though not by Patient Orientation." for note in view.notes
    )


@pytest.mark.parametrize(
    ("attributes", "reason", "by"),
    [
        ({"ViewPosition": "LL"}, "lateral-view", "View Position"),
        ({"SeriesDescription": "Thorax LAT"}, "lateral-view", "its description"),
        ({"ViewPosition": "LAO"}, "oblique-view", "View Position"),
    ],
)
def test_another_view_than_a_frontal_one_is_refused_and_why_is_told(
    tmp_path: Path, attributes: dict[str, str], reason: str, by: str
) -> None:
    done = read(tmp_path, **attributes)
    assert done.views == ()
    assert done.skipped[0].reason == reason
    assert f"by {by};" in done.skipped[0].message
