"""A missing peer is skipped over with its reason, and in CI it is a failure."""

import pytest

from tests.support.peers import locate, require


def test_present_programs_are_found() -> None:
    (shell,) = require("sh")
    assert shell.exists()
    assert locate("/no/such/file.jar") is None


@pytest.mark.parametrize("ci", ["", "false"])
def test_missing_is_skipped_outside_ci(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.skip.Exception, match="no-such-program"):
        require("sh", "no-such-program")


def test_missing_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program"):
        require("no-such-program")
