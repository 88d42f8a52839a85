"""All tables of reading: how fast, in how much memory, and what is let pass and refused.

    python tests/benchmarks/bench_reading.py [--runs 5] [--side 100000] [--bundle FOLDER] [--without scope]

Runs `bench_pixels.py`, `bench_slide.py` and `bench_scope.py` one after the other, each in a process of its
own, and prints what they print. The last needs the `train` extra and the training data (M3BIND_DATA). Exit
status 1 where one of them tells that a target was missed, or could not run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUNDLE = HERE.parents[1] / "dicom_node" / "assets" / "m3bind-mini"


def commands(runs: int, side: int, bundle: Path) -> Mapping[str, Sequence[str]]:
    """The arguments of each table, by name."""
    return {
        "pixels": ("bench_pixels.py", "--runs", str(runs), "--bundle", str(bundle)),
        "slide": ("bench_slide.py", "--side", str(side)),
        "scope": ("bench_scope.py", str(bundle)),
    }


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="of each way of reading pixels")
    parser.add_argument("--side", type=int, default=100_000, help="pixels of the slide")
    parser.add_argument("--bundle", type=Path, default=BUNDLE)
    parser.add_argument(
        "--without", action="append", default=[], choices=("pixels", "slide", "scope"), help="leave one out"
    )
    chosen = parser.parse_args()
    missed = []
    for name, (script, *arguments) in commands(chosen.runs, chosen.side, chosen.bundle).items():
        if name in chosen.without:
            continue
        print(f"\n{name}: {script} {' '.join(arguments)}", flush=True)
        if subprocess.run([sys.executable, HERE / script, *arguments], check=False).returncode:
            missed.append(name)
    if missed:
        print(f"\nmissed, or could not run: {', '.join(missed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
