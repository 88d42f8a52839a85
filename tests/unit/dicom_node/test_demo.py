"""The demo's folder and its samples."""

from pathlib import Path

import pytest

from dicom_node.config import DatabaseSettings
from dicom_node.demo import MARKER, demo_settings, empty_demo_folder, sample_studies
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


def test_what_the_environment_says_of_the_site_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("M3BIND__DATA_DIR", "/var/lib/m3bind-pacs")
    monkeypatch.setenv("M3BIND__DATABASE__URL", "postgresql://db.example.org/m3bind")
    monkeypatch.setenv("M3BIND__DELIVER_TO", '["main"]')
    monkeypatch.setenv("M3BIND__ARCHIVES", '[{"kind": "orthanc", "name": "main", "url": "http://127.0.0.1"}]')
    monkeypatch.setenv("M3BIND__WORKER__IN_PROCESS", "false")
    monkeypatch.setenv("M3BIND__HTTP__PORT", "9043")
    settings = demo_settings(tmp_path / "demo")
    assert settings.data_dir == tmp_path / "demo"
    assert settings.database == DatabaseSettings()
    assert (settings.archives, settings.deliver_to) == ((), ())
    assert settings.worker.in_process
    assert settings.http.port == 9043
