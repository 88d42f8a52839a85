"""Small pictures of the samples, and of what cannot be shown."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dicom_node.errors import InputError
from dicom_node.pixels.headers import read_instance
from dicom_node.pixels.thumbnail import SIDE, jpeg
from dicom_node.records import Instance
from tests.support.tree import ROOT

SAMPLES = ROOT / "dicom_node" / "assets" / "samples"


def shown(*paths: str) -> Image.Image:
    series = [read_instance(SAMPLES / path) for path in paths]
    return Image.open(io.BytesIO(jpeg(series, series[0], None)))


@pytest.mark.parametrize(
    ("paths", "mode", "size"),
    [
        (["xray/chest-pa.dcm"], "L", (320, 320)),
        (["ct/slice-3.dcm"], "L", (320, 320)),
        (["retina/fundus-left.dcm"], "RGB", (320, 267)),
        (["ecg/resting-12-lead.dcm"], "L", (320, 160)),
        (["pathology/level-0.dcm", "pathology/level-1.dcm"], "RGB", (320, 320)),
    ],
)
def test_every_modality_has_a_picture(paths: list[str], mode: str, size: tuple[int, int]) -> None:
    picture = shown(*paths)
    assert (picture.mode, picture.size) == (mode, size)
    assert max(picture.size) <= SIDE
    assert np.asarray(picture).std() > 10


def test_a_radiograph_is_bright_where_bone_is() -> None:
    values = np.asarray(shown("xray/chest-pa.dcm"), dtype=float) / 255
    middle, lung = values[120:200, 145:175].mean(), values[100:150, 90:120].mean()
    assert middle > lung + 0.1


def test_a_frame_that_is_not_there_is_refused() -> None:
    one = read_instance(SAMPLES / "xray" / "chest-pa.dcm")
    with pytest.raises(InputError):
        jpeg([one], one, 7)


def test_what_has_no_pixels_is_refused(tmp_path: Path) -> None:
    one: Instance = read_instance(SAMPLES / "ecg" / "resting-12-lead.dcm")
    with pytest.raises(InputError):
        jpeg([one], replace(one, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33"), None)
    with pytest.raises(OSError, match="No such file"):
        jpeg([one], replace(one, path=tmp_path / "gone"), None)
