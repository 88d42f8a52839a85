"""What the command line itself decides: widths, and what it warns of."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from dicom_node.bundle.store import open_bundle
from dicom_node.cli import _tell_undelivered, app
from dicom_node.config import SHIPPED_BUNDLE, OrthancSettings, Settings, load_settings


def settings_in(folder: Path, deliver_to: tuple[str, ...]) -> Settings:
    archive = OrthancSettings(kind="orthanc", name="main", url="http://127.0.0.1:8042")
    return load_settings(None, data_dir=folder, archives=(archive,), deliver_to=deliver_to)


def test_archives_that_get_nothing_are_warned_of(tmp_path: Path) -> None:
    with capture_logs() as logs:
        _tell_undelivered(settings_in(tmp_path, ()))
    (told,) = logs
    assert (told["log_level"], told["archives"]) == ("warning", ["main"])
    assert "archives are configured, but deliver_to names none" in told["reason"]


def test_nothing_is_said_where_reports_have_a_place_or_none_was_asked_for(tmp_path: Path) -> None:
    with capture_logs() as logs:
        _tell_undelivered(settings_in(tmp_path, ("main",)))
        _tell_undelivered(load_settings(None, data_dir=tmp_path))
    assert logs == []


@pytest.mark.parametrize("columns", ["80", "100", "140", None])
def test_a_bundle_is_shown_with_every_id_and_code_whole(columns: str | None) -> None:
    result = CliRunner().invoke(app, ["bundle", "show"], env={"COLUMNS": columns})
    assert result.exit_code == 0, result.output
    for entry in open_bundle(SHIPPED_BUNDLE).findings:
        assert f" {entry.id} " in result.output
        assert f"{entry.code.value} ({entry.code.scheme})" in result.output
    assert "\u2026" not in result.output, "nothing is cut off"
    if columns is not None:
        assert max(map(len, result.output.splitlines()[2:])) <= int(columns)


def test_a_bundle_in_a_pipe_is_a_line_for_each_finding() -> None:
    lines = CliRunner().invoke(app, ["bundle", "show"], env={"COLUMNS": None}).output.splitlines()
    for entry in open_bundle(SHIPPED_BUNDLE).findings:
        (line,) = [line for line in lines if f" {entry.id} " in line]
        assert entry.code.value in line
        assert entry.name in line
