"""MLServer with ONNX Runtime behind it: origin_mlserver.py SERVED_JSON GRPC_PORT HTTP_PORT METRICS_PORT.

Run as a script in a process of its own: MLServer needs other versions of FastAPI and protobuf than the node,
and its messages bear the names of tritonclient's. SERVED_JSON: what `model_server.read_repository` found.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import onnxruntime
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """One model of the repository."""

    async def load(self) -> bool:
        self._told = json.loads(Path(sys.argv[1]).read_text())[self.name]
        self._session = onnxruntime.InferenceSession(self._told["file"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        given = {}
        for one in payload.inputs:
            datatype, dims = self._told["inputs"].get(one.name, ("", []))
            rows, *sample = one.shape
            fits = one.datatype == datatype and len(sample) == len(dims)
            fits = fits and all(d in (-1, s) for d, s in zip(dims, sample, strict=True))
            if not fits or rows > self._told["max_batch"]:
                raise InferenceError(f"unexpected input '{one.name}' of {one.shape}")
            given[one.name] = NumpyCodec.decode_input(one)
        names = self._told["outputs"]
        answers = self._session.run(names, given)
        outputs = [NumpyCodec.encode_output(n, a) for n, a in zip(names, answers, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def serve(grpc_port: int, http_port: int, metrics_port: int) -> None:
    folder = Path(sys.argv[1]).parent
    settings = Settings(
        host="127.0.0.1",
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=metrics_port,
        metrics_dir=str(folder),
        environments_dir=str(folder / "environments"),
        parallel_workers=0,
        debug=False,
    )
    names = json.loads(Path(sys.argv[1]).read_text())
    await MLServer(settings).start([ModelSettings(name=n, implementation=OnnxModel) for n in names])


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[2:5])))
