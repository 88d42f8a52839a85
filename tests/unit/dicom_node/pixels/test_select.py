from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    BasicTextSRStorage,
    ComprehensiveSRStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    MRImageStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
    XRayRadiofluoroscopicImageStorage,
)

from dicom_node.bundle.manifest import Encoder
from dicom_node.errors import BundleFormatError
from dicom_node.pixels.headers import walk
from dicom_node.pixels.rules import RULES
from dicom_node.pixels.select import READERS, read_study
from tests.support.pixel_objects import SAMPLES, base, ct_slice, encoder, put_pixels, radiograph, save

ALL = {
    "xray": encoder("radiograph"),
    "ct": encoder("ct", slices=4),
    "retina": encoder("retina"),
    "ecg": encoder("ecg", seconds=10),
    "pathology": encoder("slide", microns_per_pixel=1.0, tile=128, tiles=4),
}
GREY = np.arange(64, dtype=np.uint8).reshape(8, 8)


def reason(folder: Path, ds: Dataset, encoders: dict[str, Encoder] = ALL) -> str:
    read = read_study([save(ds, folder)], encoders)
    assert read.views == ()
    return read.skipped[0].reason


def test_every_reader_of_the_contract_is_there_and_used() -> None:
    contract = Encoder.model_fields["reader"].annotation
    assert set(READERS) == set(contract.__args__)  # type: ignore[union-attr]
    assert {rule.reader for rule in RULES} - {None} == set(READERS)


def test_all_samples_become_views() -> None:
    instances, _ = walk([SAMPLES])
    read = read_study(instances, ALL)
    assert [v.modality for v in read.views] == list(ALL)
    assert {i.sop_instance_uid for i in instances} == {s.sop_instance_uid for s in read.skipped} | {
        s.sop_instance_uid for v in read.views for s in v.sources
    }, "every instance is either used or listed"


@pytest.mark.parametrize(
    "sop_class",
    [
        BasicTextSRStorage,
        ComprehensiveSRStorage,
        EncapsulatedPDFStorage,
        GrayscaleSoftcopyPresentationStateStorage,
        KeyObjectSelectionDocumentStorage,
        RTStructureSetStorage,
        SegmentationStorage,
    ],
)
def test_objects_beside_the_images(tmp_path: Path, sop_class: str) -> None:
    assert reason(tmp_path, base(sop_class, "OT")) == "not-an-image"


def test_other_refusals(tmp_path: Path) -> None:
    assert reason(tmp_path, base(MRImageStorage, "MR")) == "unsupported-sop-class"
    assert reason(tmp_path, base("1.2.999.1", "MR")) == "unsupported-sop-class"
    assert reason(tmp_path, base(XRayRadiofluoroscopicImageStorage, "RF")) == "fluoroscopy"
    assert reason(tmp_path, radiograph(GREY), {"ct": ALL["ct"]}) == "no-encoder"


def test_a_captured_radiograph(tmp_path: Path) -> None:
    ds = put_pixels(base(SecondaryCaptureImageStorage, "DX"), GREY, "MONOCHROME2")
    (view,) = read_study([save(ds, tmp_path)], ALL).views
    assert view.modality == "xray"


def test_one_bad_instance_never_stops_the_study(tmp_path: Path) -> None:
    good, bad = save(radiograph(GREY), tmp_path), save(radiograph(GREY), tmp_path)
    bad.path.write_bytes(bad.path.read_bytes()[:300])
    read = read_study([bad, save(ct_slice(0, 0), tmp_path), good], ALL)
    assert [v.modality for v in read.views] == ["xray", "ct"]
    assert [s.sop_instance_uid for s in read.skipped] == [bad.sop_instance_uid]


def test_two_encoders_may_share_a_reader(tmp_path: Path) -> None:
    objects = [ct_slice(z, 0) for z in range(4)]
    instances = [save(ds, tmp_path) for ds in objects]
    read = read_study(instances, {"ct": encoder("ct", slices=2), "ct_bone": encoder("ct", slices=1)})
    assert [(v.modality, len(v.samples)) for v in read.views] == [("ct", 2), ("ct_bone", 1)]
    used = {s.sop_instance_uid for v in read.views for s in v.sources}
    assert used | {s.sop_instance_uid for s in read.skipped} == {i.sop_instance_uid for i in instances}
    assert not used & {s.sop_instance_uid for s in read.skipped}


def test_operations_are_applied_and_the_box_kept(tmp_path: Path) -> None:
    prepared = encoder(
        "radiograph",
        {"op": "resize", "size": [16, 16], "mode": "pad"},
        {"op": "grey_to_rgb"},
        {"op": "channels_first"},
    )
    (view,) = read_study(
        [save(radiograph(np.zeros((8, 16), dtype=np.uint8)), tmp_path)], {"x": prepared}
    ).views
    assert view.modality == "x"
    assert view.samples[0].values.shape == (3, 16, 16)
    box = view.samples[0].box
    assert box is not None
    assert (box.top, box.bottom) == (-4, 12)


def test_an_empty_study() -> None:
    read = read_study([], ALL)
    assert (read.views, read.skipped) == ((), ())


def test_a_wrong_bundle_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleFormatError):
        read_study([save(radiograph(GREY), tmp_path)], {"xray": encoder("radiograph", {"op": "sharpen"})})


@pytest.mark.parametrize("part", ["HEAD", "BRAIN", "ABDOMEN", "FOOT", "TSPINE", "HAND"])
def test_another_body_part_is_refused(tmp_path: Path, part: str) -> None:
    film, slice_ = radiograph(GREY), ct_slice(0, 0)
    for ds in (film, slice_):
        ds.BodyPartExamined = part
        assert reason(tmp_path, ds) == "body-part"


@pytest.mark.parametrize("part", ["CHEST", "NECKCHEST", "THORAX AP", "LUNG", "WHOLEBODY", "", None])
def test_a_chest_or_no_word_of_the_body_part_is_read(tmp_path: Path, part: str | None) -> None:
    film = radiograph(GREY)
    film.BodyPartExamined = part
    assert len(read_study([save(film, tmp_path)], ALL).views) == 1


@pytest.mark.parametrize("part", ["TÓRAX", "Toraks", "piersiowa", "Göğüs", "Грудная", "胸部"])
def test_a_chest_in_other_languages_is_read(tmp_path: Path, part: str) -> None:
    written = [part.encode("utf-8")] + ([part.encode("latin-1")] if part == "TÓRAX" else [])
    for said in written:
        film = radiograph(GREY)
        film.SpecificCharacterSet = "ISO_IR 192"
        said += b" " * (len(said) % 2)
        film.BodyPartExamined = "X" * len(said)  # a CS has no such letters, but devices write them
        instance = save(film, tmp_path)
        instance.path.write_bytes(instance.path.read_bytes().replace(b"X" * len(said), said))
        assert len(read_study([instance], ALL).views) == 1


def test_a_modality_that_format_v1_does_not_know_has_no_body_part(tmp_path: Path) -> None:
    film = radiograph(GREY)
    film.BodyPartExamined = "FOOT"
    assert len(read_study([save(film, tmp_path)], {"feet": encoder("radiograph")}).views) == 1
