"""`dicom-node serve` as a subprocess, with a configuration of its own, on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import end_process
from tests.support.tree import ROOT
from tests.support.waiting import free_port


class NodeProcess:
    """One node, which can be stopped or killed and started again on the same ports with the same data.

    In a `with` block it is stopped at the end, whatever happened; `start` is left to the block.

    folder        where its data, configuration and log live
    bundle        None: the one that ships
    archives      tables of [[archives]]; `deliver_to` names those that get the reports of sent studies
    settings      further sections, e.g. {"study": {"quiet_seconds": 1.0}}
    environment   laid over this process's own
    """

    ae_title = "M3BIND"

    def __init__(
        self,
        folder: Path,
        *,
        bundle: Path | None = None,
        archives: Sequence[Mapping[str, Any]] = (),
        deliver_to: Sequence[str] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.dicom_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.data_dir = folder / "data"
        self.log = folder / "node.log"
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = folder / "node.toml"
        sections: dict[str, Mapping[str, Any]] = {
            "dimse": {"port": self.dicom_port, "ae_title": self.ae_title},
            "http": {"port": self.http_port},
            **(settings or {}),
        }
        lines = [f"data_dir = {_toml(str(self.data_dir))}", f"deliver_to = {_toml(list(deliver_to))}"]
        lines += [] if bundle is None else [f"bundle = {_toml(str(bundle.absolute()))}"]
        for name, table in sections.items():
            lines += [f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
        for archive in archives:
            lines += ["[[archives]]", *(f"{key} = {_toml(value)}" for key, value in archive.items())]
        self._configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, *, ready_within: float = 60.0) -> float:
        """Start it, and return the seconds until /health said 200."""
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node.cli", "serve", "--config", str(self._configuration)],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        with httpx.Client(base_url=self.url, trust_env=False) as http:
            while not self._answers(http):
                if time.monotonic() - began > ready_within:
                    raise AssertionError(
                        f"the node was not ready after {ready_within:g} s:\n{self.log_text()}"
                    )
                time.sleep(0.02)
        return time.monotonic() - began

    def _answers(self, http: httpx.Client) -> bool:
        if not self.running:
            raise AssertionError(f"the node ended at its start:\n{self.log_text()}")
        try:
            return http.get("/health").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def get(self, path: str) -> dict[str, Any]:
        """The JSON object at a path of its HTTP interface; AssertionError for any other answer."""
        answer = httpx.get(f"{self.url}{path}", trust_env=False)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text}"
        return dict(answer.json())

    def study(self, study_uid: str) -> dict[str, Any] | None:
        """What it says of one study; None while it does not know it."""
        answer = httpx.get(f"{self.url}/api/studies/{study_uid}", trust_env=False)
        return dict(answer.json()) if answer.status_code == 200 else None

    def stop(self) -> int:
        """End it as its service would (SIGTERM), and return its exit status."""
        return self._end(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send a signal and go on."""
        assert self._process is not None, "start() comes first"
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a power failure would."""
        self._end(signal.SIGKILL)

    def log_text(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-6000:]

    def _end(self, how: signal.Signals) -> int:
        if self._process is None:
            return 0
        try:
            return end_process(self._process, how, seconds=30)
        finally:
            self._process = None


def _toml(value: Any) -> str:
    """Strings, numbers, booleans and lists of them are the same in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)
