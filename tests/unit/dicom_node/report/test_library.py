"""The image library tells what the sources tell, and nothing else."""

from pydicom.dataset import Dataset

from dicom_node.report import codes
from dicom_node.report.library import image_library
from tests.support.sources import SOURCES, cr, ct, dx, ecg, op
from tests.support.sr import children, only, value_of, walk


def numbers(item: Dataset) -> dict[str, object]:
    """Values of the numeric descriptors right below an item, by code."""
    return {
        i.ConceptNameCodeSequence[0].CodeValue: value_of(i)
        for i in item.get("ContentSequence") or ()
        if i.ValueType == "NUM"
    }


def groups(images: list[Dataset]) -> list[Dataset]:
    library = image_library(images)
    assert library is not None
    return children(library, codes.IMAGE_LIBRARY_GROUP)


def test_every_image_is_an_entry_of_a_group_of_its_modality() -> None:
    for kind in set(SOURCES) - {"ecg"}:
        images = SOURCES[kind]()
        (group,) = groups(images)
        assert value_of(only(group, codes.MODALITY)) == (images[0].Modality, "DCM")
        entries = children(group, codes.SOURCE)
        listed = [e.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for e in entries]
        assert listed == [i.SOPInstanceUID for i in images]


def test_an_ecg_has_no_library() -> None:
    assert image_library(ecg()) is None
    assert image_library([]) is None


def test_what_all_slices_share_stands_once() -> None:
    (group,) = groups(ct(4))
    assert numbers(group) == {
        "110910": (512, "{pixels}"),
        "110911": (512, "{pixels}"),
        "112225": (2.5, "mm"),
        "111026": (0.7, "mm"),
        "111066": (0.7, "mm"),
    }
    assert value_of(only(group, codes.FRAME_OF_REFERENCE_UID)) == ct(1)[0].FrameOfReferenceUID
    assert all("ContentSequence" not in entry for entry in children(group, codes.SOURCE))


def test_what_differs_stands_at_its_image() -> None:
    images = ct(2)
    images[1].SliceThickness = 5
    (group,) = groups(images)
    assert "112225" not in numbers(group)
    assert [numbers(e)["112225"] for e in children(group, codes.SOURCE)] == [(2.5, "mm"), (5.0, "mm")]


def test_each_eye_tells_its_side() -> None:
    (group,) = groups(op())
    sides = [value_of(only(e, codes.IMAGE_LATERALITY)) for e in children(group, codes.SOURCE)]
    assert sides == [("24028007", "SCT"), ("7771000", "SCT")]


def test_a_spacing_is_never_invented() -> None:
    for broken in (None, [], [0, 0]):
        image = dx()[0]
        image.ImagerPixelSpacing = broken
        assert set(numbers(groups([image])[0])) == {"110910", "110911"}


def test_the_spacing_of_a_radiograph_is_that_at_its_detector() -> None:
    image = cr()[0]
    image.ImagerPixelSpacing = [0.2, 0.3]
    image.PixelSpacing = [0.1, 0.1]
    told = numbers(groups([image])[0])
    assert (told["111066"], told["111026"]) == ((0.2, "mm"), (0.3, "mm"))


def test_modalities_are_grouped_apart_and_in_order() -> None:
    modalities = [value_of(only(group, codes.MODALITY)) for group in groups([*dx(), *ct(1), *cr()])]
    assert modalities == [("CR", "DCM"), ("CT", "DCM"), ("DX", "DCM")]


def test_a_modality_without_a_code_is_left_out() -> None:
    image = cr()[0]
    image.Modality = "ZZ"
    assert image_library([image]) is None


def test_every_descriptor_is_acquisition_context() -> None:
    (group,) = groups(op())
    kinds = {i.RelationshipType for i in walk(group) if i.ValueType in {"NUM", "CODE", "UIDREF"}}
    assert kinds == {"HAS ACQ CONTEXT"}
