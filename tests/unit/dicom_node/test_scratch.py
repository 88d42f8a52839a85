"""What a killed process left in passing is removed, what a living one has there is not."""

import subprocess
import sys
from pathlib import Path

from dicom_node.scratch import Scratch

HOLD = """
import sys
from pathlib import Path
from dicom_node.scratch import Scratch
folder = Scratch(Path(sys.argv[1])).open()
(folder / "patient.dcm").write_text("x")
print(folder, flush=True)
sys.stdin.read()
"""


def hold(root: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_files_of_a_killed_process_are_removed_and_those_of_a_living_one_kept(tmp_path: Path) -> None:
    root = tmp_path / "scratch"
    root.mkdir()
    (root / "fetch-old").mkdir()  # as a killed node of an earlier version left it
    (root / "fetch-old" / "patient.dcm").touch()
    process, theirs = hold(root)
    assert not (root / "fetch-old").exists()

    first = Scratch(root)
    ours = first.open()
    assert (theirs / "patient.dcm").exists()
    process.kill()
    process.communicate(timeout=10)

    second = Scratch(root)
    folders = {ours, second.open()}
    assert set(root.iterdir()) == folders
    (ours / "patient.dcm").touch()
    first.close()
    first.close()
    second.close()
    assert list(root.iterdir()) == []
