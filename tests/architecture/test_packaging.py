"""An installation from a wheel has what a checkout has: templates, schema, recipes, samples, the bundle."""

import tomllib

import pytest

from tests.support.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGE_DATA: dict[str, list[str]] = PROJECT["tool"]["setuptools"]["package-data"]


@pytest.mark.parametrize("package", ["dicom_node", "m3bind", "export"])
def test_every_file_of_a_package_is_packaged(package: str) -> None:
    folder = ROOT / package
    packaged = {path for pattern in PACKAGE_DATA.get(package, []) for path in folder.glob(pattern)}
    left_out = [
        str(path.relative_to(ROOT))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix not in {".py", ".pyc"}
        and "__pycache__" not in path.parts
        and path not in packaged
    ]
    assert not left_out, "add these to [tool.setuptools.package-data] in pyproject.toml"


def test_the_licence_is_the_one_that_is_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
