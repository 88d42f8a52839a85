"""dcmtk's programs as peers: storescu, echoscu and storescp."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.peers import require
from tests.support.waiting import free_port, listens, wait_until


def _environment() -> dict[str, str]:
    # Without TCP_NODELAY dcmtk's programs wait some 40 ms for every acknowledgement.
    return {**os.environ, "TCP_NODELAY": "1"}


def store_scu(
    paths: Iterable[Path],
    port: int,
    *,
    called: str,
    calling: str = "STORESCU",
    timeout: float = 60.0,
    check: bool = True,
    options: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Send files or whole folders to 127.0.0.1:`port`; only the SOP classes found in them are proposed.

    Uncompressed transfer syntaxes are proposed, and what `options` add (`-xy`: JPEG baseline).
    """
    (program,) = require("storescu")
    # -R: propose what the files need, since dcmtk's own list lacks newer classes; +sd +r: folders.
    command = [program, "-R", *options, "-aec", called, "-aet", calling, "+sd", "+r", "127.0.0.1", str(port)]
    return subprocess.run(
        [*map(str, command), *map(str, paths)],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=check,
    )


def echo_scu(port: int, *, called: str, calling: str = "ECHOSCU", timeout: float = 20.0) -> bool:
    """Whether 127.0.0.1:`port` answers a C-ECHO with success."""
    (program,) = require("echoscu")
    command = [str(program), "-aec", called, "-aet", calling, "127.0.0.1", str(port)]
    done = subprocess.run(command, env=_environment(), capture_output=True, timeout=timeout, check=False)
    return done.returncode == 0


@dataclass(frozen=True, slots=True)
class StoreScp:
    """A storescp that is up."""

    port: int
    ae_title: str
    folder: Path

    def files(self) -> list[Path]:
        """What it has stored so far, by name."""
        return sorted(path for path in self.folder.iterdir() if path.is_file())


@contextmanager
def running_store_scp(
    folder: Path,
    *,
    ae_title: str = "STORESCP",
    options: Sequence[str] = (),
    sop_classes: Sequence[str] | None = None,
) -> Iterator[StoreScp]:
    """A storescp inside the block, which stores into `folder`.

    `options` are further ones of its own (`--refuse`, `--abort-after`); `sop_classes` limits what it
    accepts to these UIDs, in Explicit and Implicit VR Little Endian.
    """
    (program,) = require("storescp")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    limits = ["-xf", str(_profile(folder, sop_classes)), "LIMITED"] if sop_classes else ["+xa"]
    command = [str(program), "-aet", ae_title, "-od", str(folder), *limits, *options, str(port)]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(command, env=_environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or listens(port), "storescp")
        assert process.poll() is None, f"storescp ended at once: {' '.join(command)}"
        yield StoreScp(port, ae_title, folder)
    finally:
        process.terminate()
        process.wait(timeout=10)


def _profile(folder: Path, sop_classes: Sequence[str]) -> Path:
    """dcmtk's asconfig.txt format: syntaxes, then contexts, then a profile that joins them."""
    lines = ["[[TransferSyntaxes]]", "[Plain]"]
    lines += ["TransferSyntax1 = LittleEndianExplicit", "TransferSyntax2 = LittleEndianImplicit"]
    lines += ["[[PresentationContexts]]", "[Limited]"]
    lines += [f"PresentationContext{n} = {uid}\\Plain" for n, uid in enumerate(sop_classes, start=1)]
    lines += ["[[Profiles]]", "[LIMITED]", "PresentationContexts = Limited"]
    path = folder.parent / f"{folder.name}-profile.cfg"
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path
