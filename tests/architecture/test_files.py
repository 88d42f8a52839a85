"""What every file owes its reader: a size that fits a head, documentation, and no trace of a machine."""

import re
import subprocess
import sys

import pytest

from tests.support.tree import PACKAGES, ROOT, python_files, text_files

MAX_LINES = 400
# Built from parts, so that this file does not find itself. A folder of one person's or one build's machine.
MACHINE_PATH = re.compile(
    "|".join(["/" + "work/(main|shared)", "/" + r"root/\.", "/" + r"home/[a-z]", "/" + r"Users/[A-Za-z]"])
)


def test_no_file_is_too_long() -> None:
    lengths = {
        path.relative_to(ROOT): len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()
    }
    assert lengths, "no Python files were found: the walk is broken"
    too_long = {str(path): lines for path, lines in lengths.items() if lines > MAX_LINES}
    assert not too_long


def test_everything_public_has_a_docstring() -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--select",
            "D1",
            "--ignore",
            "D105,D107",  # as in pyproject.toml
            "--output-format",
            "concise",
            *PACKAGES,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_file_names_a_folder_of_one_machine() -> None:
    hits = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in text_files()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert not hits


@pytest.mark.parametrize(
    "text", ["see /" + "work/main/x", "/" + "home/anna/data", 'open("/' + 'root/.cache")']
)
def test_machine_paths_would_be_seen(text: str) -> None:
    assert MACHINE_PATH.search(text)


def test_the_walk_sees_the_files_it_should() -> None:
    seen = {str(path.relative_to(ROOT)) for path in text_files()}
    assert {
        "Makefile",
        ".ci/run",
        "pyproject.toml",
        "dicom_node/errors.py",
        "tests/architecture/test_files.py",
    } <= seen
    assert not any(name.startswith((".venv", ".git/")) for name in seen)
