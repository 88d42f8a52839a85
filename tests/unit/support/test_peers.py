"""A missing peer is skipped over with its reason, and in CI it is a failure."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.peers import locate, require


def test_present_programs_are_found() -> None:
    (shell,) = require("sh")
    assert shell.exists()
    assert locate("/no/such/file.jar") is None


def test_a_program_of_the_same_name_in_an_active_environment_is_no_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Path(sys.executable).parent
    monkeypatch.setenv("PATH", os.pathsep.join([str(own), os.environ["PATH"]]))
    found = locate("pytest")  # which is certainly there, as this runs
    assert found is None or found.parent != own


@pytest.mark.parametrize("ci", ["", "false"])
def test_missing_is_skipped_outside_ci(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        require("sh", "no-such-program")


def test_missing_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        require("no-such-program")
