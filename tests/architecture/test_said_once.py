"""What several rooms must agree on is written down in one of them."""

import pytest

from tests.support.tree import ROOT, python_files


@pytest.mark.parametrize(
    ("text", "home"),
    [
        ("Not a medical device. For research only", "facts.py"),
        ('"[::1]"', "config.py"),
        ('"cuda", "openvino"', "config.py"),
        ('b"DICM" else', "part10.py"),
        (r"[0-9]+(\.[0-9]+)*", "uids.py"),
    ],
)
def test_it_is_said_once(text: str, home: str) -> None:
    said = [
        str(path.relative_to(ROOT / "dicom_node"))
        for path in python_files()
        if path.is_relative_to(ROOT / "dicom_node")
        for line in path.read_text(encoding="utf-8").splitlines()
        if text in line
    ]
    assert said == [home]
