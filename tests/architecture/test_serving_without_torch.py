"""Serving works without the training stack: not installed, not imported, not by accident."""

import subprocess
import sys

from tests.support.tree import ROOT

FORBIDDEN = ("torch", "transformers", "timm", "peft", "m3bind", "export", "sklearn", "scipy")

IMPORT_ALL = """
import importlib, pkgutil, sys
import dicom_node
names = [m.name for m in pkgutil.walk_packages(dicom_node.__path__, "dicom_node.")]
for name in names:
    importlib.import_module(name)
print(len(names))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_no_module_of_the_node_brings_in_the_training_stack() -> None:
    run = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    count, loaded = run.stdout.strip().splitlines()
    assert int(count) >= 30, "the walk over dicom_node is broken"
    assert not set(loaded.split()) & set(FORBIDDEN)


def test_the_forbidden_are_installed_here_so_that_the_test_can_fail() -> None:
    run = subprocess.run(
        [sys.executable, "-c", "import importlib.util as u; print(u.find_spec('torch') is not None)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.stdout.strip() == "True"
