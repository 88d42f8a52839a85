"""Settings: file, environment, and errors that say what to do."""

from pathlib import Path

import pytest

from dicom_node.config import load_settings
from dicom_node.errors import ConfigError


def write(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_then_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 'data_dir = "state"\n[dimse]\nport = 4242\nae_title = "FILE"\n')
    monkeypatch.setenv("M3BIND__DIMSE__AE_TITLE", "ENVIRONMENT")
    settings = load_settings(path)
    assert settings.dimse.port == 4242
    assert settings.dimse.ae_title == "ENVIRONMENT"
    assert settings.data_dir == tmp_path / "state"


def test_findings_are_named_in_the_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, '[findings]\nenable = ["ecg.sinus_bradycardia"]\n')
    monkeypatch.setenv("M3BIND__FINDINGS__DISABLE", '["xray.infiltrate"]')
    findings = load_settings(path).findings
    assert (findings.enable, findings.disable) == (("ecg.sinus_bradycardia",), ("xray.infiltrate",))


def test_defaults_listen_on_loopback_only() -> None:
    settings = load_settings()
    assert settings.dimse.host == "127.0.0.1"
    assert settings.http.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dato_dir = 'x'", "dato_dir: there is no such setting"),
        ("[dimse]\nprt = 1", "dimse.prt: there is no such setting"),
        ("[dimse]\nport = 70000", "dimse.port"),
        ("[dimse]\nae_title = 'MUCH_TOO_LONG_AE_TITLE'", "dimse.ae_title"),
        ("deliver_to = ['nowhere']", "no archive is named 'nowhere'"),
        ("[[archives]]\nkind = 'ftp'\nname = 'a'", "archives.0"),
        (
            "[[archives]]\nkind='orthanc'\nname='a'\nurl='http://x'\n[[archives]]\nkind='orthanc'\nname='a'\nurl='http://y'",
            "used twice",
        ),
        ("not toml", "not valid TOML"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=r"wrong|not valid") as caught:
        load_settings(write(tmp_path, text))
    assert expected in str(caught.value)


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_settings(tmp_path / "none.toml")


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "[[archives]]\nkind='orthanc'\nname='a'\nurl='http://127.0.0.1:8042'\nusername='u'\npassword='hunter2'",
    )
    assert "hunter2" not in repr(load_settings(path))


@pytest.mark.parametrize(
    "name",
    ["M3BIND__DIMZE__PORT", "M3BIND__DIMSE__PRT", "M3BIND__LOG_LEVEL__X", "m3bind__dato_dir", "M3BIND__"],
)
def test_a_variable_that_belongs_to_no_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=f"{name}: there is no such setting"):
        load_settings()


def test_every_form_of_variable_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("M3BIND__HTTP", '{"port": 9000}')
    monkeypatch.setenv("m3bind__dimse__port", "4243")
    monkeypatch.setenv("M3BIND__DATABASE__URL", "postgresql://db.example.org/m3bind")
    monkeypatch.setenv("M3BIND__DELIVER_TO", "[]")
    monkeypatch.setenv("M3BIND_DATA", "of the tests, not of the node")
    settings = load_settings()
    assert (settings.http.port, settings.dimse.port) == (9000, 4243)
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://db.example.org/m3bind"
