"""Servers of the Open Inference Protocol over the repository that `m3bind-export triton` wrote.

`Stubs` answers by the service stubs of tritonclient itself, in this process: the real protocol, with ONNX
Runtime behind it. `mlserver` starts MLServer, a server of others, in a process of its own.

What both know of a model comes from its config.pbtxt, read with Triton's own messages, and what Triton would
refuse they refuse: another name, type or shape than the configuration tells, more samples than
`max_batch_size`, and a model that is not there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import InferenceServerClient, InferenceServerException, model_config_pb2, service_pb2
from tritonclient.grpc.service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)

from tests.support.origin import MLSERVER, installed
from tests.support.processes import end_process
from tests.support.waiting import free_port, wait_until

DATATYPES = {model_config_pb2.TYPE_FP32: "FP32", model_config_pb2.TYPE_INT64: "INT64"}
NUMPY = {"FP32": np.float32, "INT64": np.int64}


@dataclass(frozen=True)
class Served:
    """One model, as its config.pbtxt tells."""

    file: str
    max_batch: int
    inputs: dict[str, tuple[str, list[int]]]
    """Datatype and dims by name."""
    outputs: list[str]


def read_repository(folder: Path) -> dict[str, Served]:
    """What a server finds in `folder`, by the model's name."""
    found = {}
    for config in sorted(folder.glob("*/config.pbtxt")):
        told = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
        assert (told.name, told.backend) == (config.parent.name, "onnxruntime")
        found[told.name] = Served(
            file=str(config.parent / "1" / "model.onnx"),
            max_batch=told.max_batch_size,
            inputs={one.name: (DATATYPES[one.data_type], list(one.dims)) for one in told.input},
            outputs=[one.name for one in told.output],
        )
    return found


class Stubs(GRPCInferenceServiceServicer):
    """ModelInfer over one repository; `asked` holds the model and the rows of each request;
    `delay`, in seconds, comes before each answer."""

    def __init__(self, repository: Path) -> None:
        self._models = read_repository(repository)
        self._sessions = {name: onnxruntime.InferenceSession(m.file) for name, m in self._models.items()}
        self.asked: list[tuple[str, int]] = []
        self.delay = 0.0

    def ModelInfer(self, request, context):
        time.sleep(self.delay)
        if request.model_name not in self._models:
            context.abort(
                grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.model_name}' is not found"
            )
        model = self._models[request.model_name]
        given = {}
        for one, raw in zip(request.inputs, request.raw_input_contents, strict=True):
            datatype, dims = model.inputs.get(one.name, ("", []))
            fits = one.datatype == datatype and len(one.shape) == len(dims) + 1
            fits = fits and all(d in (-1, s) for d, s in zip(dims, one.shape[1:], strict=True))
            if not fits or one.shape[0] > model.max_batch:
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, f"unexpected input '{one.name}' of {list(one.shape)}"
                )
            given[one.name] = np.frombuffer(raw, NUMPY[datatype]).reshape(one.shape)
        self.asked.append((request.model_name, int(request.inputs[0].shape[0])))
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        answers = self._sessions[request.model_name].run(model.outputs, given)
        for name, values in zip(model.outputs, answers, strict=True):
            response.outputs.add(name=name, datatype="FP32", shape=values.shape)
            response.raw_output_contents.append(np.ascontiguousarray(values).tobytes())
        return response


@contextmanager
def stubs(repository: Path) -> Iterator[tuple[str, Stubs]]:
    """The address of a server over `repository`, and the server."""
    service = Stubs(repository)
    # Without it two servers may share a port, and a port that is taken is no error.
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpc://127.0.0.1:{port}", service
    finally:
        server.stop(grace=None).wait()


@contextmanager
def mlserver(repository: Path, scratch: Path) -> Iterator[str]:
    """The address of an MLServer over `repository`; its files lie in `scratch`."""
    told = scratch / "served.json"
    told.write_text(json.dumps({name: asdict(model) for name, model in read_repository(repository).items()}))
    ports = [free_port() for _ in range(3)]
    script = Path(__file__).with_name("origin_mlserver.py")
    environment = {**os.environ, "PYTHONPATH": str(installed(MLSERVER, 1000)), "OMP_NUM_THREADS": "1"}
    with (scratch / "mlserver.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(script), str(told), *map(str, ports)],
            env=environment,
            cwd=scratch,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        client = InferenceServerClient(f"127.0.0.1:{ports[0]}")

        def ready() -> bool:
            assert process.poll() is None, (scratch / "mlserver.log").read_text()[-4000:]
            try:
                return bool(client.is_server_ready(client_timeout=1.0))
            except InferenceServerException:
                return False

        try:
            wait_until(ready, "ready MLServer", seconds=60.0)
            yield f"grpc://127.0.0.1:{ports[0]}"
        finally:
            client.close()
            end_process(process, signal.SIGTERM, 20.0)
