"""The demo's folder and its samples."""

from pathlib import Path

import pytest

from dicom_node.demo import MARKER, empty_demo_folder, sample_studies
from dicom_node.errors import ConfigError


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("do not remove")
    with pytest.raises(ConfigError, match="--data-dir"):
        empty_demo_folder(tmp_path)
    assert precious.exists()


def test_its_own_folder_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    empty_demo_folder(folder)
    (folder / "old").write_text("from an earlier run")
    empty_demo_folder(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_one_study_for_each_modality() -> None:
    studies = sample_studies()
    assert sorted(study.folder for study in studies) == ["ct", "ecg", "pathology", "retina", "xray"]
    assert len({study.study_uid for study in studies}) == 5
    for study in studies:
        assert {str(dataset.StudyInstanceUID) for dataset in study.datasets} == {study.study_uid}
