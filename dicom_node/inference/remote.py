"""Runs the models of a bundle on a server of the Open Inference Protocol: Triton, KServe, MLServer.

`m3bind-export triton` writes what such a server serves: one model for each part of a bundle, named as the
part is, with the inputs and outputs of `protocol.py`. The node trusts no server to serve the right ones:
every start sends it the bundle's self-test.

Protocol: github.com/kserve/open-inference-protocol, specification/protocol/open_inference_grpc.proto. gRPC
and not HTTP: arrays travel as bytes, and one client of tritonclient may be used by several threads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np

from dicom_node.errors import ConfigError, InferenceError, InferenceUnavailableError
from dicom_node.inference.batching import MAX_BATCH
from dicom_node.inference.protocol import Array

ADDRESS = re.compile(r"(?P<scheme>grpcs?)://(?P<authority>[^/@?#\s]+:\d{1,5})/?")
"""grpc://HOST:PORT, or grpcs:// for TLS."""

AWAY = frozenset(
    f"StatusCode.{name}" for name in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED")
)
"""gRPC's codes after which the same request may succeed later (grpc.io/docs/guides/status-codes)."""


class ModelServer:
    """One server, by its address. Safe to use from several threads."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        """`timeout_seconds`: for one batch, there and back. Connects to nothing yet.

        Certificates are checked against gRPC's own roots, or those in the file that the environment variable
        GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names. Raises ConfigError for an address of another form, and where
        tritonclient is not installed.
        """
        address = ADDRESS.fullmatch(url)
        if address is None:
            raise ConfigError(
                f"inference.url: {url} is no address of a model server; write grpc://HOST:PORT, or "
                "grpcs://HOST:PORT for TLS. Triton's port for gRPC is 8001."
            )
        self.url = url
        self._library = _client_library()
        self._timeout = timeout_seconds
        self._client: Any = self._library.InferenceServerClient(
            address["authority"], ssl=address["scheme"] == "grpcs"
        )

    def model(self, name: str) -> RemoteRunner:
        """The model of that name; whether there is one shows when it is first run."""
        return RemoteRunner(self, name)

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def infer(self, name: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs of one call. Raises InferenceUnavailableError where the server does not answer (in
        time), InferenceError where it refuses."""
        try:
            given = [self._input(key, values) for key, values in inputs.items()]
            result = self._client.infer(name, given, client_timeout=self._timeout)
            return {output.name: _array(result, output.name) for output in result.get_response().outputs}
        except self._library.InferenceServerException as error:
            status, said = str(error.status()), error.message()
            if status in AWAY:
                raise InferenceUnavailableError(
                    f"The model server {self.url} did not run {name} within {self._timeout:g} s ({status}: "
                    f"{said}). Is it up, and the address in inference.url right?"
                ) from error
            raise InferenceError(
                f"The model server {self.url} refused to run {name} ({status}: {said}). Does it serve the "
                "repository that `m3bind-export triton` wrote for this bundle?"
            ) from error

    def _input(self, name: str, values: Array) -> Any:
        kinds = {"float32": "FP32", "int64": "INT64"}
        given = self._library.InferInput(name, list(values.shape), kinds[values.dtype.name])
        given.set_data_from_numpy(np.ascontiguousarray(values))
        return given


class RemoteRunner:
    """One model of a server; see `protocol.Runner`. Safe to call from several threads."""

    def __init__(self, server: ModelServer, name: str) -> None:
        self._server = server
        self._name = name

    @property
    def providers(self) -> tuple[str, ...]:
        """Where it runs: the server's address. What it runs on is the server's affair."""
        return (self._server.url,)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name for one batch, which is sent in parts of MAX_BATCH at most: a server refuses
        more than its `max_batch_size`. Raises InferenceError."""
        rows = len(next(iter(inputs.values())))
        answers = [
            self._server.infer(self._name, {k: v[start : start + MAX_BATCH] for k, v in inputs.items()})
            for start in range(0, rows, MAX_BATCH)
        ]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _array(result: Any, name: str) -> Array:
    values: Array | None = result.as_numpy(name)
    if values is None or values.dtype.kind != "f":
        raise InferenceError(f"The model server's output {name} holds no floating-point numbers.")
    return values


def _client_library() -> ModuleType:
    """tritonclient.grpc, which only a node with a model server needs. Raises ConfigError without it."""
    try:
        return import_module("tritonclient.grpc")
    except ImportError as error:
        raise ConfigError(
            f"inference.url needs tritonclient ({error}): pip install 'm3bind-pacs[remote]'."
        ) from error
