"""The name of the code, as the card tells it."""

import re

import pytest

from m3bind.commit import commit_of_code


def test_a_commit_is_twelve_digits_and_says_when_files_differ():
    told = commit_of_code()
    assert re.fullmatch(r"[0-9a-f]{12,}(-dirty)?|unknown", told)


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_without_git_the_code_is_unknown(path, monkeypatch):
    monkeypatch.setenv("PATH", path)
    assert commit_of_code() == "unknown"


def test_rooms_that_do_not_differ_are_clean():
    told = commit_of_code(rooms=["no/such/room"])
    assert not told.endswith("-dirty")
