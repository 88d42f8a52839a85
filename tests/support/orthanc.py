"""A real Orthanc as a subprocess, with a configuration of its own, on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.support.peers import require
from tests.support.processes import end_process
from tests.support.waiting import free_port, wait_until

PLUGINS = Path("/usr/share/orthanc/plugins")
PYTHON = PLUGINS / "libOrthancPython.so"
DICOMWEB = PLUGINS / "libOrthancDicomWeb.so"
PLUGIN_SCRIPT = Path(__file__).parents[2] / "orthanc_plugin" / "plugin.py"

STABLE_AGE = 1
"""Seconds without a new instance after which this Orthanc calls a study stable."""


class OrthancServer:
    """One Orthanc, which can be stopped and started again on the same ports with the same database.

    folder        where its database, configuration and log live
    dicomweb      whether the DICOMweb plugin is loaded (root /dicom-web/)
    script        a Python script to load, e.g. PLUGIN_SCRIPT
    settings      merged over the generated configuration
    auth          user and password, where `settings` ask for them
    """

    ae_title = "ORTHANC"

    def __init__(
        self,
        folder: Path,
        *,
        dicomweb: bool = False,
        script: Path | None = None,
        settings: Mapping[str, Any] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> None:
        plugins = [PYTHON] if script else []
        plugins += [DICOMWEB] if dicomweb else []
        self._program, *_ = require("Orthanc", *map(str, plugins))
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._auth = auth
        self._client: httpx.Client | None = None
        self.log = folder / "orthanc.log"
        self.http_port = free_port()
        self.dicom_port = free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.settings: dict[str, Any] = {
            "Name": "test",
            "StorageDirectory": str(folder / "storage"),
            "IndexDirectory": str(folder / "storage"),
            "HttpPort": self.http_port,
            "DicomPort": self.dicom_port,
            "DicomAet": self.ae_title,
            "RemoteAccessAllowed": False,
            "StableAge": STABLE_AGE,
            "DefaultEncoding": "Utf8",
            "Plugins": [str(plugin) for plugin in plugins],
            **({"PythonScript": str(script)} if script else {}),
            **(settings or {}),
        }

    def start(self) -> None:
        """Return once it answers over HTTP and DICOM."""
        (self._folder / "storage").mkdir(parents=True, exist_ok=True)
        configuration = self._folder / "orthanc.json"
        configuration.write_text(json.dumps(self.settings, indent=2), encoding="utf-8")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        # Without TCP_NODELAY every answer waits for a delayed acknowledgement of some 40 ms.
        environment |= {"TCP_NODELAY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        self._client = httpx.Client(base_url=self.url, auth=self._auth, timeout=30.0, trust_env=False)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, configuration], stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        try:
            wait_until(self._ready, f"answer from Orthanc; its log is {self.log}", 30.0)
        except BaseException:
            self.kill()
            raise

    def _ready(self) -> bool:
        if not self.running:
            raise AssertionError(f"Orthanc ended at its start:\n{self.log_text()[-4000:]}")
        try:
            return self._request("GET", "/system").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> int:
        """End it as its service would (SIGINT), and return its exit status."""
        return self._end(signal.SIGINT)

    def kill(self) -> None:
        """End it as a power failure would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> int:
        if self._client is not None:
            self._client.close()
        if self._process is None:
            return 0
        try:
            return end_process(self._process, how, seconds=20)
        finally:
            self._process = None

    def log_text(self) -> str:
        """All that it has logged so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Any:
        """JSON of GET `path` (with its leading slash)."""
        return self._request("GET", path).raise_for_status().json()

    def file(self, instance: str) -> bytes:
        """The Part 10 file of an instance, by Orthanc id."""
        return self._request("GET", f"/instances/{instance}/file").raise_for_status().content

    def upload(self, part10: bytes) -> str:
        """Store one instance over REST and return its Orthanc id."""
        return str(self._request("POST", "/instances", part10).raise_for_status().json()["ID"])

    def study_id(self, study_uid: str) -> str | None:
        """Orthanc id of a study, None where it is not there."""
        hits = self._request("POST", "/tools/lookup", study_uid.encode()).raise_for_status().json()
        return next((str(hit["ID"]) for hit in hits if hit["Type"] == "Study"), None)

    def _request(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        assert self._client is not None, "start the server first"
        return self._client.request(method, path, content=content)


@contextmanager
def running_orthanc(
    folder: Path,
    *,
    dicomweb: bool = False,
    script: Path | None = None,
    settings: Mapping[str, Any] | None = None,
    auth: tuple[str, str] | None = None,
) -> Iterator[OrthancServer]:
    """An Orthanc that is up inside the block and gone after it: killed, since its own way takes 4 s.
    Tests that care how it ends call `stop` themselves."""
    server = OrthancServer(folder, dicomweb=dicomweb, script=script, settings=settings, auth=auth)
    try:
        server.start()
        yield server
    finally:
        server.kill()
