import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the train extra")

from export.cli import main
from tests.support.bundles import TINY, copy_tiny

pytestmark = pytest.mark.train


def run(*arguments: str | Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of the command."""
    monkeypatch.setattr(sys, "argv", ["m3bind-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_good_bundle_is_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("verify", TINY, monkeypatch=monkeypatch) == 0
    told = capsys.readouterr().out
    for graph in ("xray", "ct", "retina", "ecg", "pathology", "text", "1.000000"):
        assert graph in told


def test_an_altered_bundle_ends_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bundle = copy_tiny(tmp_path / "bundle")
    (bundle / "findings.json").write_text("{}")
    assert run("verify", bundle, monkeypatch=monkeypatch) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("BundleIntegrityError: findings.json is not the file that was sealed")


def test_a_folder_without_a_checkpoint_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "bundle"
    assert run("build", tmp_path, "--out", out, monkeypatch=monkeypatch) == 1
    assert "no checkpoint" in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()


@pytest.mark.parametrize("command", ["build", "verify"])
def test_every_command_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--help", monkeypatch=monkeypatch) == 0
    assert "bundle" in capsys.readouterr().out.lower()
