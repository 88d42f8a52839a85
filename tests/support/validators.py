"""The three validators of structured reports, each as a function from a file to the errors it finds.

None of them notices a missing Tracking Unique Identifier or Procedure reported: what a template requires is
asserted by our own tests besides.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.peers import require

PIXELMED_JAR = "/usr/share/java/pixelmed.jar"

# Without the limits Java's XPath engine refuses the size of PixelMed's rules; the first two
# make a run, which compiles megabytes of rules to check one small file, a third faster.
JAVA_OPTIONS = (
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Djdk.xml.xpathTotalOpLimit=0",
    "-Djdk.xml.xpathExprOpLimit=0",
    "-Djdk.xml.xpathExprGrpLimit=0",
)


def _lines(run: subprocess.CompletedProcess[bytes]) -> list[str]:
    """What was printed. Values are echoed in the character set of the file, which is not decoded."""
    return (run.stdout + run.stderr).decode("ascii", "replace").splitlines()


def dciodvfy_errors(path: Path) -> list[str]:
    """Lines of `dciodvfy -new` that start with Error (dicom3tools): the IOD and its modules.

    It exits 1 for most errors, and 0 for some: the lines decide."""
    (program,) = require("dciodvfy")
    run = subprocess.run([str(program), "-new", str(path)], capture_output=True, timeout=120)
    lines = _lines(run)
    errors = [line for line in lines if line.startswith("Error")]
    assert run.returncode == 0 or errors, f"dciodvfy ended with {run.returncode}: {lines}"
    return errors


def pixelmed_report(path: Path) -> list[str]:
    """Every line of PixelMed's DicomSRValidator: the template tree. It exits 0 whatever it finds."""
    java, jar = require("java", PIXELMED_JAR)
    command = [str(java), *JAVA_OPTIONS, "-cp", str(jar), "com.pixelmed.validate.DicomSRValidator", str(path)]
    run = subprocess.run(command, capture_output=True, timeout=240)
    lines = _lines(run)
    assert any("Root Template" in line for line in lines), f"PixelMed found no template to check: {lines}"
    return lines


def pixelmed_errors(path: Path) -> list[str]:
    """Lines of PixelMed that start with Error."""
    return [line for line in pixelmed_report(path) if line.startswith("Error")]


def pixelmed_errors_of(paths: Mapping[str, Path]) -> dict[str, list[str]]:
    """`pixelmed_errors` of several files by name, as many at a time as there are cores: a run is seven
    seconds of one core, nearly all of it to compile the rules."""
    require("java", PIXELMED_JAR)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return dict(zip(paths, pool.map(pixelmed_errors, paths.values()), strict=True))


def dsrdump(path: Path) -> str:
    """The report as text, long values whole, by dcmtk. Fails when dcmtk cannot read it.

    Names stay in their own character set, which is not decoded: dcmtk cannot convert all of them. Its
    warnings are let pass: 3.6.7 takes the offset +0000 of a date and time for illegal.
    """
    (program,) = require("dsrdump")
    run = subprocess.run([str(program), "+Pc", "+Pl", str(path)], capture_output=True, timeout=60)
    told = run.stderr.decode("ascii", "replace")
    assert run.returncode == 0, told
    assert not [line for line in told.splitlines() if not line.startswith("W: ")], told
    return run.stdout.decode("ascii", "replace")
